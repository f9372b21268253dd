"""What requests write to the store: one request after the other, each write to its end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from k8snetlab.api.calico_policy import CalicoNetworkPolicy, GlobalNetworkPolicy
from k8snetlab.api.cluster_policy import ClusterNetworkPolicy
from k8snetlab.api.core import Namespace
from k8snetlab.api.ignored import Ignored
from k8snetlab.api.meta import Object
from k8snetlab.api.networking import NetworkPolicy
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.controllers.admission import in_order
from k8snetlab.controllers.namespaces import SYSTEM
from k8snetlab.errors import DaemonError, NotFoundError
from k8snetlab.lab.operations.refusing import title
from k8snetlab.messages.changes import Changed, ChangeEvent
from k8snetlab.messages.progress import Waiting, Warning
from k8snetlab.policies.world import without_effect
from k8snetlab.running.convergence import BEAT
from k8snetlab.running.followed import Followed

T = TypeVar("T")
Tell = Callable[[ChangeEvent], None]
Changes = dict[str, list[str]]
"""Titles of objects that were "created", "updated", "deleted"."""
BATCH = 300
"""Objects stored in one go; the daemon answers others in between, after 15 ms or so."""
POLICIES = (NetworkPolicy, ClusterNetworkPolicy, CalicoNetworkPolicy, GlobalNetworkPolicy)
MANY = 1000
"""Objects of one request that are worth to be set apart from what is looked through for garbage."""
EMPTYING = 60.0
"""Seconds that a namespace which is to be made anew may take to go."""


class Writing:
    """Whoever has begun to write is not disturbed by others, nor by its client's end."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._one_at_a_time = asyncio.Lock()
        self._writing: set[asyncio.Task[Any]] = set()

    async def written(self, write: Callable[[Tell], Awaitable[None]], timeout: float) -> AsyncIterator[ChangeEvent]:
        """What `write` tells. It runs when no other one does, and never waits for who listens; when that one goes, it
        ends with the write to the store that is under way."""
        events: asyncio.Queue[ChangeEvent | None] = asyncio.Queue()
        began, reason = time.monotonic(), "another request, which is writing"

        async def in_turn() -> None:
            nonlocal reason
            async with self._one_at_a_time:
                reason = "the store, which is being written to"
                await write(events.put_nowait)

        work = asyncio.ensure_future(in_turn())
        work.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while True:
                try:
                    if events.empty():
                        async with asyncio.timeout(BEAT):
                            event = await events.get()
                    else:
                        event = events.get_nowait()
                except TimeoutError:
                    seconds = time.monotonic() - began
                    if seconds > timeout:
                        raise DaemonError(f"after {timeout:g} s still waiting for {reason}") from None
                    event = Waiting(round(seconds, 1), (reason,))
                if event is None:
                    break
                yield event
            work.result()
        finally:
            work.cancel()

    async def store(self, objects: list[Object], changes: Changes, followed: Followed, tell: Tell) -> None:
        """Stores objects that were checked."""
        for namespace in self._undeclared(objects):
            tell(Warning(f"namespace {namespace.name!r} is not declared; it is created"))
            await self.whole(self._cluster.apply(namespace))
        ordered = in_order(objects)
        objects.clear()  # the store has them now, and its snapshot
        with self._cluster.bulk(), _set_apart(len(ordered)):
            for batch in (ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH)):
                outcomes = await self.whole(self._cluster.apply_many(batch, right=True))
                for obj, outcome in zip(batch, outcomes, strict=True):
                    if isinstance(obj, Ignored):
                        continue  # no kernel has anything of it
                    followed.comes(obj)
                    if outcome != "unchanged":
                        changes["created" if outcome == "created" else "updated"].append(title(obj))
                    tell(Changed(outcome, obj.KIND, obj.name))
                await asyncio.sleep(0)
        policies = any(isinstance(obj, POLICIES) for obj in ordered)
        if policies and (idle := without_effect(self._cluster.snapshot)):
            tell(Warning(idle))

    async def remove(
        self, objects: Iterable[Object], changes: Changes, followed: Followed, tell: Tell, force: bool = False
    ) -> None:
        for obj in objects:
            stored = self._cluster.snapshot.get(type(obj), obj.name, obj.namespace)
            if stored is not None:  # else a controller took it along with its owner
                followed.goes(stored, self._cluster.snapshot)
                with contextlib.suppress(NotFoundError):
                    await self.whole(self._cluster.delete(stored, force))
                if force and isinstance(stored, Namespace):
                    await self._emptied(stored)
            if isinstance(obj, Ignored):
                continue
            changes["deleted"].append(title(obj))
            tell(Changed("deleted", obj.KIND, obj.name))

    async def _emptied(self, namespace: Namespace) -> None:
        """Until a deleted namespace is gone. Raises DaemonError."""
        try:
            async with asyncio.timeout(EMPTYING):
                async for snapshot in self._cluster.changes():
                    there = snapshot.get(Namespace, namespace.name)
                    if there is None or there.metadata.uid != namespace.metadata.uid:
                        return
        except TimeoutError:
            hint = f"`k8snetlab get ns {namespace.name} -o yaml` says what keeps it"
            raise DaemonError(f"namespace {namespace.name!r} is still being deleted", hint) from None

    def _undeclared(self, objects: list[Object]) -> list[Namespace]:
        known = {name for _, name in self._cluster.snapshot.all(Namespace)}
        known |= set(SYSTEM) | {o.name for o in objects if isinstance(o, Namespace)}
        wanted = dict.fromkeys(o.namespace for o in objects if o.namespaced and o.namespace not in known)
        return [msgspec.convert({"metadata": {"name": name}}, Namespace) for name in wanted]

    async def whole(self, work: Coroutine[Any, Any, T]) -> T:
        """A write that has begun is finished even when the client has gone."""
        task = asyncio.ensure_future(work)
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return await asyncio.shield(task)


@contextlib.contextmanager
def _set_apart(count: int) -> Iterator[None]:
    """What is stored stays: to look through it for garbage again and again takes a tenth of the time in which it is
    written, and a quarter of that in which the rules of 5,000 Services are worked out. What of it is deleted later is
    let go of all the same, by its count.
    """
    if count < MANY:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # a look for garbage before it would go through all of that, and finds nothing
        gc.enable()


def no_changes() -> Changes:
    return {"created": [], "updated": [], "deleted": []}
