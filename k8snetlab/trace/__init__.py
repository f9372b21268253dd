"""The way of a packet through rendered or real rules and tables, without sending it."""

__all__ = ["branches", "compare", "directory", "listener", "owners", "path", "tracer", "way"]
