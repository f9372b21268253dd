"""One node's misses: its socket, what is known there, and what has been asked lately."""

from __future__ import annotations

import logging
import time

from k8snetlab.dataplane.resolution import Resolution, Resolutions
from k8snetlab.kernel.misses import Miss, Misses

log = logging.getLogger(__name__)
RESYNC = 0.1
"""Seconds at least between two looks at what waits in a node's tables."""
AGAIN = 1.0
"""Seconds in which the same unanswerable question is shown once."""
REPEATED = 0.02
"""Seconds in which the same L2 miss is one of the packets that came before its answer."""
UNRESOLVED = 6.0
"""Seconds that the kernel keeps an address it gets no answer for: 3 probes in user space, 3 on the wire."""
CROWD = 128
"""Unanswered addresses of a node from which on they are deleted at once: the neighbour table (gc_thresh3, 1,024
entries) is one for the whole machine, and when it is full no first packet gets anywhere."""


class MissQueue:
    """What the responder keeps for a node; used by one thread at a time."""

    def __init__(self, node: str, inode: int, misses: Misses) -> None:
        self.node, self.inode, self.misses, self.fd = node, inode, misses, misses.fileno()
        self.devices: frozenset[str] = frozenset()
        self.resolutions: tuple[Resolution, ...] = ()
        self.known = Resolutions(())
        self.unknown: dict[tuple[int, bytes], tuple[float, float]] = {}
        """When an address that nobody has was asked for last, and when it was last shown; the oldest first."""
        self.due: float | None = None
        """When (monotonic) to look at the tables."""
        self.looked = 0.0
        self.resting: float | None = None
        """Until when (monotonic) its questions wait."""
        self._recent: dict[tuple[int, bytes], float] = {}
        self._doomed: list[Miss] = []
        self._noted, self._unnoted = 0.0, 0

    def overrun(self) -> None:
        """The socket lost misses: looks at the tables soon."""
        self.due = max(time.monotonic(), self.looked + RESYNC)

    def repeated(self, miss: Miss) -> bool:
        """Whether this L2 miss was raised by a packet that came before the answer given just now."""
        if miss.kind == "L3":
            return False
        now, key = time.monotonic(), (miss.ifindex, miss.address)
        if now - self._recent.get(key, 0.0) < REPEATED:
            return True
        self._recent[key] = now
        return False

    def remember(self, miss: Miss) -> bool:
        """Remembers an address that nobody has; whether to show it: not again within a second, and not in a crowd."""
        now, key = time.monotonic(), (miss.ifindex, miss.address)
        _, shown = self.unknown.pop(key, (0.0, 0.0))
        fresh = now - shown >= AGAIN
        self.unknown[key] = (now, now if fresh else shown)
        while len(self.unknown) > CROWD and now - self.unknown[oldest := next(iter(self.unknown))][0] > UNRESOLVED:
            del self.unknown[oldest]
        if miss.kind == "L3" and len(self.unknown) > CROWD:
            self._doomed.append(miss)
        return fresh and len(self.unknown) <= CROWD

    def forget(self) -> None:
        """Makes room in the neighbour table when there are too many addresses that nobody has."""
        doomed, self._doomed = self._doomed, []
        if doomed:
            self.misses.forget(doomed)

    def note(self, what: str) -> None:
        """To the log, a line a second at most."""
        now = time.monotonic()
        if now - self._noted < AGAIN:
            self._unnoted += 1
            return
        more = f" (and {self._unnoted} like it before)" if self._unnoted else ""
        log.info("%s: %s%s", self.node, what, more)
        self._noted, self._unnoted = now, 0
