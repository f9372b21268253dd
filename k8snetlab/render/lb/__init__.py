"""Load balancers: who announces an address, and the configuration of those who do."""

__all__ = ["alb", "candidates", "haproxy", "routed", "speaker"]
