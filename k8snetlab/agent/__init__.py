"""What runs for each node: the managers that keep its dataplane, in one sync."""

__all__ = ["additions", "failure", "misses", "node", "protocol", "removal", "report", "router", "steps"]
