"""What is asked of a lab's daemon and answered by it: each of the lab's own verbs, declared once, with its messages."""

__all__ = [
    "capture",
    "changes",
    "diagnose",
    "errors",
    "guests",
    "kubeconfig",
    "machines",
    "nodes",
    "places",
    "probe",
    "progress",
    "rules",
    "status",
    "store",
    "tables",
    "timeouts",
    "tokens",
    "trace",
    "verb",
    "watch",
]
