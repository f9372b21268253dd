"""Live kernels explained: traces, tables, probes, diagnosis."""

__all__ = [
    "asked",
    "capture",
    "desired",
    "diagnosing",
    "inspect",
    "lookup",
    "matrix",
    "namespaces",
    "places",
    "probe",
    "targets",
    "tracing",
]
