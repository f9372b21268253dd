"""Live kernels explained: traces, tables, probes, diagnosis."""

__all__ = [
    "asked",
    "capture",
    "daemons",
    "desired",
    "diagnosing",
    "inspect",
    "lookup",
    "matrix",
    "namespaces",
    "places",
    "probe",
    "settling",
    "targets",
    "tracing",
]
