"""Which routing daemons a node has, and what they are configured to say."""

__all__ = ["bird", "frr", "speakers"]
