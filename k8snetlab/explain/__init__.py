"""Live kernels explained: traces, tables, probes, diagnosis."""

__all__ = [
    "capture",
    "desired",
    "diagnosing",
    "inspect",
    "matrix",
    "namespaces",
    "places",
    "probe",
    "targets",
    "tracing",
]
