"""Machines as nodes: registration, leases, subnets, the elected leader."""
