"""Real programs of a node's, kept as children of the kubelet in the node's namespace."""

__all__ = [
    "announcers",
    "balancing",
    "home",
    "keeper",
    "kubelet",
    "nginx",
    "plane",
    "program",
    "programs",
    "routing",
    "trial",
]
