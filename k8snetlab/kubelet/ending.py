"""How long a pod's containers have to end: one after the other where they are sidecars, and all within the pod's time.

Source: Kubernetes pkg/kubelet/kuberuntime (killContainer, termination_order.go).
"""

from __future__ import annotations

LEAST = 2.0
"""Seconds that a container has, however long its preStop, or what is to end before it, took."""


def at_least(grace: float, passed: float = 0.0) -> float:
    """Of `grace` seconds what is left; none at all for what is to be killed at once."""
    return max(LEAST, grace - passed) if grace > 0 else grace
