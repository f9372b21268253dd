"""Findings: what is wrong with a network, from values alone."""
