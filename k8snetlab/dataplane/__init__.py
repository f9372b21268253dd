"""Kernel nouns as values: what a network namespace holds, and the difference between two such states."""
