"""What daemons ask of each other, through the store that they share."""

__all__ = ["pace", "parts", "remote", "requests"]
