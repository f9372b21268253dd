"""Machines as nodes of one lab: joining and leaving it, and what each holds in the store by lease."""
