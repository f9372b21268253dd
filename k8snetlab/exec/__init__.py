"""A command in a place: at a terminal or between pipes, here or on another machine; a connection to a port in it."""

__all__ = ["asking", "channels", "console", "forward", "piped", "terminal"]
