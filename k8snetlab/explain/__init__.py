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
    "requested",
    "settling",
    "steps",
    "targets",
    "tracing",
    "walks",
]
