"""Cluster DNS: what a question about a cluster's names is answered, worked out from a Snapshot."""

__all__ = ["addon", "answers", "asking", "chain", "corefile", "etc", "nodelocal", "outside", "resolv", "walk", "wire"]
