"""When the machine's neighbour tables were full. The kernel only counts: somebody has to look again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from k8snetlab.dataplane.rules import Family
from k8snetlab.kernel import neighbours
from k8snetlab.running import beats

PACE = 1.0
"""Seconds between two looks."""


class Overflows:
    """`last`: by family, when a look last found that an entry was refused, in seconds of the monotonic clock."""

    def __init__(
        self,
        count: Callable[[], Mapping[Family, int]] = neighbours.overflows,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._count, self._clock = count, clock
        self._counted = dict(count())
        self.last: dict[Family, float] = {}

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(beats.until(PACE))
            self.look()

    def look(self) -> None:
        for family, times in self._count().items():
            if times > self._counted.get(family, times):
                self.last[family] = self._clock()
            self._counted[family] = times

    def ago(self, family: Family) -> float | None:
        """Seconds since then, after one more look; None where it never was so."""
        self.look()
        last = self.last.get(family)
        return None if last is None else self._clock() - last
