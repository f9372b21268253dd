"""Kubernetes' REST: transport, discovery, objects, watches, access."""

__all__ = ["access", "authorization", "objects", "paths", "query", "server", "transport", "verbs"]
