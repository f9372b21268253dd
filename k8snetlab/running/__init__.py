"""What runs in the daemon: agents, pods' lives, and when a change has come to rest."""

__all__ = ["agents", "convergence", "kubelet_link", "lifecycle", "logs", "own", "turning"]
