"""The second process of a lab: it runs pods' containers and answers for those without a command."""

__all__ = ["rotation", "runner", "times"]
