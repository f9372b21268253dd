"""A lab's life on this machine: the daemon, its REST face, the ledger, up and down."""

__all__ = ["audit", "doctor", "down", "join", "peer", "render", "scenarios", "up"]
