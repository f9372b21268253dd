"""Requests between daemons, through the store that they share."""

__all__ = ["pace", "parts", "remote", "requests"]
