"""The network of a Kubernetes cluster, built from real Linux kernel objects."""

__version__ = "0.1.0"
