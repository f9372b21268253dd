"""The process that announces addresses of load balancers from a node: `python -m k8snetlab.speaker`, as MetalLB's.

It imports the standard library alone: there is one on every node, and each is to begin within milliseconds."""

__all__ = ["frames"]
