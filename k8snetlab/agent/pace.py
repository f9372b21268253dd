"""How often many rules are written: not again and again while one endpoint after the other comes.

A chain with thousands of endpoints is written as a whole for each that comes or goes, by kube-proxy too, which lets a
second pass between two writes (its minSyncPeriod) and allows for two at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from k8snetlab.api.core import Pod
from k8snetlab.api.snapshot import Snapshot

MANY = 2000
"""Rules of one write that is followed by a rest, where the one before it was such a write too."""
TIMES, LONGEST = 4, 15.0
"""A rest is so many times as long as the write, and so many seconds at most."""


def coming(snapshot: Snapshot) -> int:
    """The pods that are to become ready; none while others end, whose rules are to go soon."""
    return 0 if snapshot.select(Pod, _by_way, "ends") else len(snapshot.select(Pod, _by_way, "comes"))


def _by_way(pod: Pod) -> Iterable[str]:
    if pod.metadata.deletionTimestamp:
        return ("ends",)
    return () if pod.ready or pod.ended else ("comes",)


class Pace:
    """Of one table."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = self._until = float("-inf")
        """When the last write of many rules had ended, and until when to rest."""

    @property
    def rest(self) -> float:
        """Seconds until the next write, 0 where it may be now."""
        return max(0.0, self._until - self._clock())

    def wrote(self, rules: int, seconds: float) -> None:
        """That many were written just now, which took so long."""
        now = self._clock()
        if rules < MANY:
            return
        if now - seconds - self._last < 2 * LONGEST:
            self._until = now + min(TIMES * seconds, LONGEST)
        self._last = now
