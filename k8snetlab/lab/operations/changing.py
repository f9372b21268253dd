"""Changing a lab's objects: up, apply, delete; what does not go together is refused first."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from typing import Any

import msgspec

from k8snetlab.api import customizing
from k8snetlab.api.body import decode
from k8snetlab.api.core import Pod
from k8snetlab.api.ignored import Ignored
from k8snetlab.api.kinds import Kinds, kinds_of
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import BY_NAME
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.checkup import room
from k8snetlab.cluster.cluster import BROUGHT, Cluster
from k8snetlab.cluster.deletion import refuse_deletion
from k8snetlab.errors import DaemonError, InputError, K8sNetLabError, NotFoundError
from k8snetlab.kernel import iptables
from k8snetlab.lab.operations import dns_last
from k8snetlab.lab.operations.refusing import (
    check,
    refuse_emptying,
    refuse_rebuilding,
    refuse_unread,
    title,
    to_make_anew,
)
from k8snetlab.lab.operations.writing import Changes, Tell, Writing, no_changes
from k8snetlab.lab.table import answers
from k8snetlab.machines.leases import Leases
from k8snetlab.messages.changes import (
    APPLY,
    DELETE,
    UP,
    WAIT,
    Change,
    ChangeEvent,
    Done,
    Up,
    Wait,
)
from k8snetlab.messages.progress import Waiting, Warning
from k8snetlab.peers.requests import Remote
from k8snetlab.running.agents import Agents
from k8snetlab.running.convergence import BEAT, converge
from k8snetlab.running.doors import Doors
from k8snetlab.running.followed import Followed

LEASED = 5.0
"""Seconds for which leases of subnets are waited for, after all else: no packet needs them."""


class Changing:
    """Each yields events and ends when the kernel has caught up. What is checked and written is so by one request after
    the other; nobody waits for another one's kernel."""

    def __init__(
        self,
        cluster: Cluster,
        agents: Agents,
        leases: Leases,
        remote: Remote | None,
        doors: Doors,
        *,
        handed: list[Object] | None = None,
    ) -> None:
        """`handed` are objects of an `up` that is to come."""
        self._doors, self._handed = doors, handed or []
        self._cluster, self._agents, self._leases, self._remote = cluster, agents, leases, remote
        self.writing = Writing(cluster)

    @answers(UP)
    async def up(self, asked: Up) -> AsyncIterator[ChangeEvent]:
        """Makes the store hold these objects and none that an earlier `up` brought, and waits for the kernel."""
        began, followed, changes = time.monotonic(), Followed(), no_changes()
        had = self._had(asked)
        objects = [_marked(obj) for obj in dns_last.with_addons([*had, *self._read(asked)])]
        right = set(map(id, objects[: len(had)]))  # who has handed them has looked at each
        last: list[Object] = []

        async def write(tell: Tell) -> None:
            await self._cluster.restore()
            refuse_rebuilding(objects, self._cluster.snapshot)
            stored = [obj for kind in self._cluster.snapshot.objects.values() for obj in kind.values()]
            brought = [obj for obj in stored if BROUGHT in obj.metadata.annotations]
            keep = {(type(obj), obj.key) for obj in objects} if brought else set()
            gone = [obj for obj in brought if (type(obj), obj.key) not in keep]
            anew = to_make_anew(objects, self._cluster.snapshot)
            check(objects, self._cluster.snapshot, [*gone, *anew], right)
            await asyncio.to_thread(refuse_unread, objects, self._cluster.snapshot)
            limits = room.warnings(objects, there=self._cluster.snapshot.all(Pod).values())
            for warning in (*limits, *_new_sandboxes(objects, self._cluster.snapshot)):
                tell(Warning(warning))
            if not asked.yes:
                own_kinds = [[o for o in some if not isinstance(o, Ignored)] for some in (gone, brought)]
                refuse_emptying(own_kinds[0], len(own_kinds[1]))
            for lab in [obj for obj in objects if isinstance(obj, Lab)]:
                iptables.variant(lab.spec.proxy.iptables)  # said now rather than with half a lab built
            # Those that go first make room: their node ports and addresses may be given to the new ones.
            await self.writing.remove(gone, changes, followed, tell)
            for obj in anew:
                going = obj.metadata.deletionTimestamp
                why = "it was being deleted" if going else "what changed of it cannot be updated"
                tell(Warning(f"{title(obj)} is made anew: {why}"))
            await self.writing.remove(anew, changes, followed, tell, force=True)
            last[:] = dns_last.held_back(objects, self._cluster.snapshot)
            await self.writing.store(objects, changes, followed, tell)
            self._taken(asked)

        async for event in self.writing.written(write, asked.timeout):
            yield event
        async for event in self._joined(asked.timeout):
            yield event
        async for event in self._dns(last, changes, followed, asked.timeout):
            yield event
        async for event in self._converged(followed, began, changes, asked):
            yield event

    def _read(self, asked: Change | Up) -> list[Object]:
        return _decoded(asked.objects, kinds_of(self._cluster.snapshot))

    def _had(self, asked: Up) -> list[Object]:
        """What was handed to the daemon beforehand, where the request means that, too. Raises DaemonError."""
        if asked.handed and (not self._handed or asked.handed != os.getpid()):
            raise DaemonError("this daemon has none of the objects that it was handed", "run the same `up` once more")
        return self._handed if asked.handed else []

    def _taken(self, asked: Up) -> None:
        """What was handed is stored: nobody asks for it again."""
        if asked.handed:
            self._handed.clear()

    async def _dns(
        self, held_back: list[Object], changes: Changes, followed: Followed, timeout: float
    ) -> AsyncIterator[ChangeEvent]:
        """Writes what was held back, after the request's other pods have their addresses."""
        if not held_back:
            return

        async def write(tell: Tell) -> None:
            await self.writing.store(held_back, changes, followed, tell)

        async for waiting in dns_last.addressed(self._cluster, followed):
            yield waiting
        async for event in self.writing.written(write, timeout):
            yield event

    @answers(APPLY)
    async def apply(self, asked: Change) -> AsyncIterator[ChangeEvent]:
        """As `kubectl apply`: creates or changes these objects, leaves all others."""
        began, followed, changes = time.monotonic(), Followed(), no_changes()
        objects = self._read(asked)

        async def write(tell: Tell) -> None:
            refuse_rebuilding(objects, self._cluster.snapshot)
            for warning in check(objects, self._cluster.snapshot):
                tell(Warning(warning))
            await asyncio.to_thread(refuse_unread, objects, self._cluster.snapshot)
            await self.writing.store(objects, changes, followed, tell)

        async for event in self.writing.written(write, asked.timeout):
            yield event
        async for event in self._converged(followed, began, changes, asked):
            yield event

    @answers(DELETE)
    async def delete(self, asked: Change) -> AsyncIterator[ChangeEvent]:
        began, followed, changes = time.monotonic(), Followed(), no_changes()
        objects, missing = self._read(asked), list[Object]()
        for obj in objects:
            refuse_deletion(obj)

        async def write(tell: Tell) -> None:
            there: list[Object] = []
            for obj in objects:
                found = self._cluster.snapshot.get(type(obj), obj.name, obj.namespace)
                if found or not isinstance(obj, Ignored):
                    (there if found else missing).append(obj)
            await self.writing.remove(there, changes, followed, tell)

        async for event in self.writing.written(write, asked.timeout):
            yield event
        absent = "\n".join(f"{o.KIND.lower()} {o.name!r} not found" for o in missing)
        async for event in self._converged(followed, began, changes, asked, NotFoundError(absent) if missing else None):
            yield event

    @answers(WAIT)
    async def wait(self, asked: Wait) -> AsyncIterator[ChangeEvent]:
        """Waits for what was changed already."""
        began, followed = time.monotonic(), Followed()
        for reference in asked.objects:
            resource = BY_NAME.get(reference.kind.lower())
            if resource is None:
                raise InputError(f"no kind {reference.kind!r} in this lab")
            namespace = reference.namespace if resource.type.namespaced else ""
            followed.comes(self._cluster.current(resource.type, reference.name, namespace))
        async for event in self._converged(followed, began, no_changes(), asked):
            yield event

    async def _converged(
        self,
        followed: Followed,
        since: float,
        changes: Changes,
        asked: Change | Wait,
        refused: K8sNetLabError | None = None,
    ) -> AsyncIterator[ChangeEvent]:
        """The end of a request: the kernel has caught up, `refused` is said, or what was done."""
        if isinstance(asked, Wait) or asked.wait:
            if not any(changes.values()) or self._cluster.informer.moved < since:
                for task in self._agents.tasks:  # nothing else makes them look whether all is as it should be
                    task.look()
            waiting = converge(
                self._cluster,
                self._agents,
                self._remote,
                followed,
                since=since,
                timeout=asked.timeout,
                doors=self._doors,
            )
            async with aclosing(waiting) as events:
                async for event in events:
                    yield event
            if not await self._leases.mirrored(LEASED):
                why = "; ".join(self._leases.problems.values()) or "the store is busy, or does not answer"
                yield Warning(f"the leases of the nodes' subnets are not in the store yet: {why}")
        if refused:
            raise refused
        told = {outcome: tuple(titles) for outcome, titles in changes.items()}
        yield Done(round(time.monotonic() - since, 3), **told)

    async def _joined(self, timeout: float) -> AsyncIterator[ChangeEvent]:
        """Until this machine, where it is to be a node, is registered."""
        began = time.monotonic()
        work = asyncio.ensure_future(self._leases.registered())
        try:
            while not (await asyncio.wait({work}, timeout=BEAT))[0]:
                seconds = time.monotonic() - began
                reasons = list(self._leases.problems.values()) or ["this machine is not registered yet"]
                if seconds > timeout:
                    raise DaemonError(f"after {timeout:g} s still waiting: {'; '.join(reasons)}")
                yield Waiting(round(seconds, 1), tuple(reasons))
            work.result()
        finally:
            work.cancel()


def _decoded(bodies: list[Any], kinds: Kinds) -> list[Object]:
    """The objects, taken out of the list: as bodies they weigh far more, and the request is held to its end."""
    bodies.reverse()
    objects: list[Object] = []
    while bodies:
        body = bodies.pop()
        custom = kinds.named(str(body.get("apiVersion")), str(body.get("kind"))) if isinstance(body, dict) else None
        if custom is not None and custom.defined is not None:
            objects.append(customizing.decoded(body, custom)[0])
        else:
            objects.append(decode(body))
    return objects


def _marked(obj: Object) -> Object:
    annotations = {**obj.metadata.annotations, BROUGHT: "true"}
    return msgspec.structs.replace(obj, metadata=msgspec.structs.replace(obj.metadata, annotations=annotations))


def _new_sandboxes(objects: Iterable[Object], stored: Snapshot) -> Iterator[str]:
    """Where Calico's network takes the place of another one or gives it up: what becomes of pods that are there."""
    for lab in (obj for obj in objects if isinstance(obj, Lab)):
        before = stored.get(Lab, lab.name)
        if before is None or before.spec.network.calico == lab.spec.network.calico:
            continue
        count = sum(bool(pod.ips) and not pod.spec.hostNetwork and not pod.ended for pod in stored.all(Pod).values())
        if count:
            change = f"network.backend {before.spec.network.backend} becomes {lab.spec.network.backend}"
            whose = f"{count} pods are" if count > 1 else "1 pod is"
            yield f"{change}: {whose} plugged in anew, perhaps with another address, and connections end"
