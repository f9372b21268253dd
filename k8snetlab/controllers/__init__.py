"""Controllers as pure functions: from a Snapshot to the writes to make. No clock, no randomness, no I/O."""

from k8snetlab.controllers.reconcile import Write, reconcile

__all__ = ["Write", "reconcile"]
