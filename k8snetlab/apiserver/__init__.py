"""Kubernetes' REST: transport, discovery, objects, watches, access."""

__all__ = [
    "access",
    "authorization",
    "bodies",
    "listener",
    "negotiation",
    "objects",
    "paths",
    "query",
    "server",
    "transport",
    "verbs",
]
