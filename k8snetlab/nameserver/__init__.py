"""The process that answers a cluster's names in a DNS pod, in the place of CoreDNS."""

__all__: list[str] = []
