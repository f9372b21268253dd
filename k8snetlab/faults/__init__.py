"""What can go wrong in a lab on purpose: each fault declared, and made into commands and edits for one lab. Pure."""

__all__ = ["catalogue", "drill", "fault", "injected", "scene"]
