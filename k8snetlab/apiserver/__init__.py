"""Kubernetes' REST: transport, discovery, objects, watches, access."""

__all__ = ["access", "authorization", "listener", "objects", "paths", "query", "server", "transport", "verbs"]
