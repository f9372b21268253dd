"""Which Services and endpoints all nodes write rules of while pods come: those of one moment, and then not before long.

A node whose rules are of another moment than its neighbour's has other rules: what iptables has written into one is of
no use to the other (`kernel.iptables.copies`). And what each node may take of the time, all of them together may not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from k8snetlab.api.core import Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.meta import Object
from k8snetlab.api.reading import Reading
from k8snetlab.api.snapshot import Snapshot

KINDS: tuple[type[Object], ...] = (Service, EndpointSlice)
SOME = 200
"""Rules of one write that are many."""
TIMES, FEW, LONGEST = 10, 2, 120.0
"""While pods come, a step is so many times as long as all nodes have written in it, many rules or few, and so many
seconds at most: with the last of them it ends. Few are worth a wait too: what changes chains takes nf_tables 25 ms, for
which the program that does it waits, and of pods that come together one is ready a moment before the other."""
STANDSTILL = 2.0
"""Seconds after which pods that are not ready are no longer waited for, when not one of them has become so."""
QUIET, SPARE = 5.0, 200
"""Seconds after the last pod came from which on all nodes together do so many things a second that can wait."""


class Step(NamedTuple):
    """`objects` has the Services and endpoints; `newest`: it was begun just now, so none are newer than these."""

    objects: Snapshot
    newest: bool


class Steps:
    """One for all nodes of a machine; may be asked from any thread."""

    def __init__(
        self, newest: Callable[[], Snapshot] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`newest` answers with a snapshot that is as new as any that is handed to a node; without it each node's own
        is taken."""
        self._newest, self._clock, self._lock = newest, clock, threading.Lock()
        self._held: Snapshot | None = None
        self._coming, self._moved = 0, float("-inf")
        """Pods that are to become ready, and when some last did."""
        self._spent, self._until = 0.0, float("-inf")
        """Seconds that the step is to be long, and until when it is."""
        self._left, self._second = 0, float("-inf")
        """Things that can wait and may be done in the second that began then."""

    def rest(self, had: Snapshot | None, coming: int) -> float:
        """Seconds until a node that `had` the objects of a step last is to write again, 0 where it may be now."""
        with self._lock:
            return self._rest(coming) if had is not None and had is self._held else 0.0

    def take(self, own: Snapshot, coming: int) -> Step:
        """What a node whose snapshot is `own` writes rules of now."""
        if self._newest is None:
            return Step(own, True)
        with self._lock:
            if begins := self._held is None or not self._rest(coming):
                self._held, self._until = self._newest(), self._clock() + min(self._spent, LONGEST)
                self._spent = 0.0  # until it is known what this one takes, it is as long as the last one
            assert self._held is not None
            return Step(self._held, begins or not differ(self._held, own))

    def wrote(self, rules: int, seconds: float) -> None:
        """A node wrote that many just now, which took so long."""
        with self._lock:
            self._spent += seconds * (TIMES if rules >= SOME else FEW)
            self._until = max(self._until, self._clock() + min(self._spent, LONGEST))

    def spare(self, coming: int, most: int) -> int:
        """How many things that can wait a node may do now."""
        with self._lock:
            waits = self._patience(coming)
            if waits or (now := self._clock()) - self._moved < QUIET:
                return 0
            if now - self._second >= 1.0:
                self._second, self._left = now, SPARE
            taken = min(most, self._left)
            self._left -= taken
            return taken

    def _rest(self, coming: int) -> float:
        return max(0.0, min(self._patience(coming), self._until - self._clock()))

    def _patience(self, coming: int) -> float:
        """Seconds for which pods are still waited for."""
        now = self._clock()
        if coming != self._coming:
            self._coming, self._moved = coming, now
        return max(0.0, self._moved + STANDSTILL - now) if coming else 0.0


def differ(one: Snapshot, other: Snapshot) -> bool:
    """Whether they have other Services or endpoints."""
    return any(one.objects.get(kind) is not other.objects.get(kind) for kind in KINDS)


def seen(own: Snapshot, step: Step) -> Reading:
    """A node's snapshot with the Services and endpoints of a step, of which nothing was asked yet."""
    return Reading(own.revision, {**own.objects, **{kind: step.objects.all(kind) for kind in KINDS}}, own.reports)


def note(own: Snapshot, step: Step, asked: Reading) -> None:
    """A node that reads `own` was `asked` that; but of Services and endpoints, where newer ones are left for later:
    these concern the node already."""
    if isinstance(own, Reading):
        own.asked.update({q: answer for q, answer in asked.asked.items() if step.newest or q[0] not in KINDS})
