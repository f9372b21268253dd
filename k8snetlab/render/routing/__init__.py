"""Which routing daemons a node has, and what they are configured to say."""

__all__ = ["bird", "calico", "frr", "speakers"]
