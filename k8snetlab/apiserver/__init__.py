"""Kubernetes' REST: transport, discovery, objects, watches, access."""

__all__ = ["access", "negotiation", "objects", "query", "server", "transport", "verbs"]
