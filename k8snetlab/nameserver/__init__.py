"""The process that answers a cluster's names in DNS pods, in the place of CoreDNS."""

__all__: list[str] = []
