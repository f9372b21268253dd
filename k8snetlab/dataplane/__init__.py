"""Kernel nouns as values: what a network namespace holds, and the difference between two such states."""

__all__ = [
    "birth",
    "delta",
    "families",
    "felix_names",
    "frames",
    "holds",
    "links",
    "names",
    "netns",
    "operations",
    "packet",
    "resolution",
    "routing",
    "rules",
    "sets",
    "shaping",
    "view",
]
