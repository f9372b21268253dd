"""Machines as nodes: registration, leases, subnets, the elected leader."""

__all__ = ["ending", "fetching", "leases", "membership", "occupied"]
