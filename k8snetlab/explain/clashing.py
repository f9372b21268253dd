"""Where packets were lost of late because two of one connection came together: the kernel counts, and never forgets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from k8snetlab.api.core import Node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.diagnose import resolving
from k8snetlab.diagnose.finding import Finding
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import clashes, netns


class Memory:
    """Of a daemon: what was counted in each namespace, and when a look last found more than the one before.

    What is there at the first look is new, as nobody knows when it came.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._known: dict[int, tuple[int, int, float]] = {}
        """Of a namespace: what was counted before the losses of late, what is counted now, and since when."""

    def new(self, namespace: int, lost: int) -> int:
        """Packets lost in the namespace of this number of late; `lost` are those since it was made."""
        with self._lock:
            now = self._clock()
            before, counted, at = self._known.get(namespace, (0, 0, now))
            if lost < counted:
                before = counted = 0
            if now - at > resolving.LATELY:
                before = counted
            self._known[namespace] = before, lost, now if lost > counted else at
            return lost - before


MEMORY = Memory()


def wrong(snapshot: Snapshot, nodes: list[str], memory: Memory = MEMORY) -> Iterator[Finding]:
    """Of these nodes, in a lab that has names to ask for. Blocking."""
    for name in nodes if snapshot.lab.spec.dns.enabled else ():
        place = names.namespace_of(snapshot.lab.name, name, snapshot.lab.spec.machines)
        if snapshot.get(Node, name) is None:
            continue
        try:
            counted, number = clashes.counted(place), netns.number(place)
        except K8sNetLabError:  # a namespace that is gone is a finding already
            continue
        if lost := memory.new(number, counted.lost):
            yield resolving.raced(name, place, lost)
