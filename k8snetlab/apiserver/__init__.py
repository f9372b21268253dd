"""Kubernetes' REST: transport, discovery, objects, watches, access."""

__all__ = [
    "access",
    "authentication",
    "authorization",
    "bodies",
    "channels",
    "connections",
    "inside",
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
