"""Live kernels explained: traces, tables, probes, diagnosis."""

__all__ = [
    "apiservers",
    "asked",
    "calicoctl",
    "capture",
    "daemons",
    "desired",
    "diagnosing",
    "following",
    "inspect",
    "lookup",
    "matrix",
    "namespaces",
    "places",
    "probe",
    "settling",
    "steps",
    "targets",
    "tracing",
]
