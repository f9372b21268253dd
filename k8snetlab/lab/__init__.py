"""A lab's life on this machine: the daemon, what each verb does, `up`, `down` and `join`."""

__all__ = ["ahead", "down", "join", "render", "up"]
