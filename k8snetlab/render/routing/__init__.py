"""Which routing daemons a node has, and what they are configured to say."""

__all__ = ["beside", "bird", "calico", "frr", "speakers"]
