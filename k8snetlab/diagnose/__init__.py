"""Findings: what is wrong with a network, from values alone."""

__all__ = [
    "emptiness",
    "events",
    "finding",
    "guests",
    "links",
    "neighbours",
    "objects",
    "paths",
    "pods",
    "policed",
    "resolving",
    "rules",
    "sampling",
    "sets",
    "tables",
    "unmanaged",
    "usual",
    "verdict",
    "wanted",
]
