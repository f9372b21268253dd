"""Scenarios with what is expected of them, and lessons."""

__all__ = ["checking", "comparing", "expectations", "junit", "lesson", "progress", "scenes", "teaching"]
