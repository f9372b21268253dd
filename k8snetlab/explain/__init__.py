"""Live kernels explained: traces, tables, probes, diagnosis."""

__all__ = ["capture", "desired", "diagnosing", "inspect", "namespaces", "places", "probe", "targets", "tracing"]
