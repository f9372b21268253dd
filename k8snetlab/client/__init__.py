"""The way to a lab's daemon."""

__all__ = ["choice", "client", "decoders", "early"]
