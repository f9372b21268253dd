"""Kubernetes' REST: transport, discovery, objects, watches, access."""

__all__ = ["access", "objects", "query", "server", "transport", "verbs"]
