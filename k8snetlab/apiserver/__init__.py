"""Kubernetes' REST: transport, discovery, objects, watches, access."""

__all__ = [
    "access",
    "authorization",
    "bodies",
    "channels",
    "connections",
    "listener",
    "negotiation",
    "objects",
    "paths",
    "query",
    "refusals",
    "server",
    "transport",
    "verbs",
    "virtual",
]
