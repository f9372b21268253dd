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
    "stream_channels",
    "streams",
    "transport",
    "upgrades",
    "verbs",
    "virtual",
]
