"""What runs for each node: the sync loop of its dataplane, and the kubelet that holds the pods' processes."""

__all__ = ["additions", "misses", "node", "removal"]
