"""A command in a place: at a terminal or between pipes, here or on another machine."""

__all__ = ["asking", "channels", "console", "piped"]
