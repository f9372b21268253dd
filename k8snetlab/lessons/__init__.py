"""Scenarios to learn from."""
