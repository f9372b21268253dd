"""Live kernels explained: traces, tables, probes, diagnosis."""

__all__ = ["capture", "desired", "diagnosing", "inspect", "namespaces", "probe", "probed", "tracing"]
