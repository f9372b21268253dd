"""Kubernetes' REST: transport, discovery, objects, watches, access."""
