"""Objects that many ask to be created at the same time: one visit to the store, and one change of the Snapshot.

A change of the Snapshot copies the mapping of its kind, so that one for each of 5,000 objects would cost their square.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from k8snetlab.api.core import Service
from k8snetlab.api.meta import Object
from k8snetlab.api.networking import IPAddress
from k8snetlab.api.scheme import resource_of
from k8snetlab.errors import AlreadyExistsError

TOGETHER = 128
"""Objects of one visit, so that others have their turn."""
Create = Callable[[Sequence[Object]], Awaitable[Sequence[Object | Exception]]]


class Creations:
    """What is asked for in one turn of the loop is created in the next, in the order in which it was asked for.

    `create` says what became of each object; what it raises became of all.
    """

    def __init__(self, create: Create) -> None:
        self._create = create
        self._waiting: list[tuple[Object, asyncio.Future[Object]]] = []
        self._task: asyncio.Task[None] | None = None

    async def of(self, obj: Object) -> Object:
        """The object as it is stored. Who stops waiting does not stop the creation."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((obj, done))
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="creations")
        stored: Object = await done
        return stored

    async def _run(self) -> None:
        try:
            while batch := self._waiting[:TOGETHER]:
                del self._waiting[:TOGETHER]
                await self._done(batch)
        finally:
            self._task = None
            for _, done in self._waiting:
                done.cancel()

    async def _done(self, batch: Sequence[tuple[Object, asyncio.Future[Object]]]) -> None:
        try:
            results = await self._create([obj for obj, _ in batch])
        except Exception as error:
            results = [error] * len(batch)
        except BaseException:
            for _, done in batch:
                done.cancel()
            raise
        for (_, done), result in zip(batch, results, strict=True):
            if done.done():
                continue  # nobody waits for it any more
            if isinstance(result, Exception):
                done.set_exception(result)
            else:
                done.set_result(result)


def alone(obj: Object) -> bool:
    """Whether what it is given depends on what others of its batch are given."""
    return isinstance(obj, Service | IPAddress)


def namesake(obj: Object) -> AlreadyExistsError:
    return AlreadyExistsError(f"{resource_of(obj).plural} {obj.name!r} already exists")
