"""Cluster DNS: what a question about a cluster's names is answered, worked out from a Snapshot."""

__all__ = [
    "addon",
    "answers",
    "asking",
    "caching",
    "chain",
    "corefile",
    "etc",
    "lines",
    "nodelocal",
    "outside",
    "resolv",
    "walk",
    "wire",
]
