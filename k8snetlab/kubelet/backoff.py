"""How long a container waits before it is started again: at once, then 10 s, doubling to 5 minutes.

Source: Kubernetes pkg/kubelet/kuberuntime (doBackOff), client-go util/flowcontrol/backoff.go, kubelet.go
(MaxCrashLoopBackOff).
"""

from __future__ import annotations

INITIAL = 10.0
MAX = 300.0
RESET = 2 * MAX
"""Seconds of running after which a container's past is forgotten."""
RELIST = 1.0
"""Seconds after which the kubelet sees that a container has ended (its PLEG's period), so that it never spins."""


class BackOff:
    """The waits of one container; times are in seconds of any clock that only goes forward."""

    def __init__(self) -> None:
        self._wait = 0.0
        self._started = 0.0

    def ended(self, now: float) -> float:
        """Seconds from now, when the container ended, until it is to be started again; 0.0 for at once."""
        if self._wait and now - self._started > RESET:
            self._wait = 0.0
        return self._wait

    def restarted(self, now: float) -> None:
        self._wait = min(self._wait * 2, MAX) or INITIAL
        self._started = now
