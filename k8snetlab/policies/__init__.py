"""What NetworkPolicies say: objects to peers and verdicts. How a data plane says it (rules, sets) is another room's."""

__all__ = [
    "calico",
    "calico_order",
    "calico_shapes",
    "drawing",
    "established",
    "legend",
    "lint",
    "matrix",
    "resolve",
    "sentences",
    "shapes",
    "verdict",
    "world",
]
