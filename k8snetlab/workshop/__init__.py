"""Scenarios with what is expected of them, and lessons."""

__all__ = ["checking", "expectations", "junit", "lesson", "scenes", "teaching"]
