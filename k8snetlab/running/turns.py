"""Work that has a turn whenever objects of some kinds have changed, or somebody asks for a look."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection

from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import K8sNetLabError

AGAIN = 2.0
"""Seconds before what has failed is tried again, though nothing has changed."""
Turn = Callable[[Snapshot], Awaitable[float | None]]
"""Answers the seconds after which to look again, None for only when there is news."""


class Turns:
    """One after the other, in the loop's thread; one that fails is logged, and tried again."""

    def __init__(self, name: str, cluster: Cluster, kinds: Collection[type[Object]], turn: Turn) -> None:
        self._name, self._cluster, self._kinds, self._turn = name, cluster, kinds, turn
        self._wake = asyncio.Event()

    def look(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """For as long as the lab lives."""
        following = asyncio.create_task(self._follow(), name=f"objects of {self._name}")
        try:
            while not following.done():
                self._wake.clear()
                wait: float | None = AGAIN
                try:
                    wait = await self._turn(self._cluster.snapshot)
                except (OSError, K8sNetLabError):
                    logging.getLogger(__name__).exception(self._name)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
            following.result()
        finally:
            following.cancel()

    async def _follow(self) -> None:
        async for _ in self._cluster.changes(kinds=self._kinds):
            self._wake.set()


def marks(snapshot: Snapshot, kinds: Collection[type[Object]]) -> tuple[object, ...]:
    """What is another one when objects of these kinds have changed."""
    return tuple(snapshot.all(kind) for kind in kinds)


def same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    """Whether no object has changed between two `marks`."""
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


def knows(
    seen: tuple[object, ...], revision: int, kinds: Collection[type[Object]], asked: Snapshot, newest: Snapshot
) -> bool:
    """Whether a turn that has `seen` these marks, of objects at a revision, has seen what is in the one `asked` about.

    What this process writes is in a snapshot before that is at its revision: of two at the same either may be newer.
    """
    return revision > asked.revision or any(same(seen, marks(one, kinds)) for one in (asked, newest))
