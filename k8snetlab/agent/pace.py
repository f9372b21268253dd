"""How often many rules are written: not again and again while one endpoint after the other comes.

A chain with thousands of endpoints is written as a whole for each that comes or goes, by kube-proxy too, which lets a
second pass between two writes (its minSyncPeriod) and allows for two at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from k8snetlab.api.core import Pod
from k8snetlab.api.snapshot import Key, Snapshot

MANY, SOME = 2000, 200
"""Rules of one write that is followed by a rest: where the one before it was such a write too, and while pods come."""
TIMES, LONGEST = 4, 15.0
"""A rest is so many times as long as the write, and so many seconds at most."""
TIMES_COMING, LONGEST_COMING = 60, 120.0
"""The same while pods come: with the last of them the rest ends."""
STANDSTILL = 2.0
"""Seconds after which pods that are not ready are no longer waited for, when not one of them has become so."""


def coming(snapshot: Snapshot) -> int:
    """The pods that are to become ready; none while others end, whose rules are to go soon."""
    return snapshot.derived(Pod, _unready)


def _unready(pods: Mapping[Key, Pod]) -> int:
    if any(pod.metadata.deletionTimestamp for pod in pods.values()):
        return 0
    return sum(not (pod.ready or pod.ended) for pod in pods.values())


class Pace:
    """Of one table."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = self._until = self._until_come = self._moved = float("-inf")
        """When the last write of many rules had ended, until when to rest, and while pods come; when some last did."""
        self._coming = 0

    def rest(self, coming: int) -> float:
        """Seconds until the next write, 0 where it may be now; `coming` pods are to become ready."""
        now = self._clock()
        if coming != self._coming:
            self._coming, self._moved = coming, now
        until = self._until
        if coming and now - self._moved < STANDSTILL:
            until = max(until, min(self._until_come, self._moved + STANDSTILL))
        return max(0.0, until - now)

    def wrote(self, rules: int, seconds: float) -> None:
        """That many were written just now, which took so long."""
        now = self._clock()
        if rules >= SOME:
            self._until_come = now + min(TIMES_COMING * seconds, LONGEST_COMING)
        if rules < MANY:
            return
        if now - seconds - self._last < 2 * LONGEST:
            self._until = now + min(TIMES * seconds, LONGEST)
        self._last = now
