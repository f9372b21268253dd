"""Changing a lab's objects: up, apply, delete, and pausing an agent; what does not go together is refused first."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import aclosing
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from k8snetlab.api.body import decode
from k8snetlab.api.core import Namespace, Node, Pod
from k8snetlab.api.ignored import Ignored
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.networking import NetworkPolicy
from k8snetlab.api.scheme import BY_NAME
from k8snetlab.api.validate import validate
from k8snetlab.checkup import room
from k8snetlab.cluster.cluster import BROUGHT, Cluster
from k8snetlab.cluster.deletion import refuse_deletion
from k8snetlab.controllers.admission import in_order, is_another
from k8snetlab.controllers.namespaces import SYSTEM
from k8snetlab.errors import DaemonError, InputError, K8sNetLabError, ManifestError, NotFoundError, UnconfirmedError
from k8snetlab.kernel import iptables
from k8snetlab.lab.operations import dns_last
from k8snetlab.lab.table import answers
from k8snetlab.machines.leases import Leases
from k8snetlab.messages.changes import (
    APPLY,
    DELETE,
    UP,
    WAIT,
    Change,
    Changed,
    ChangeEvent,
    Done,
    Up,
    Wait,
)
from k8snetlab.messages.nodes import PAUSE, RESUME, NodeName, Paused
from k8snetlab.messages.progress import Waiting, Warning
from k8snetlab.peers.requests import Remote
from k8snetlab.policies.world import without_effect
from k8snetlab.running.agents import Agents, is_paused, with_pause
from k8snetlab.running.convergence import BEAT, converge
from k8snetlab.running.followed import Followed

T = TypeVar("T")
Tell = Callable[[ChangeEvent], None]
Changes = dict[str, list[str]]
"""Titles of objects that were "created", "updated", "deleted"."""
PLAN = (
    *("underlay", "podCIDR", "serviceCIDR", "machines"),
    *(f"network.{family}{end}" for family in ("subnet", "ipv6Subnet") for end in ("Len", "Min", "Max")),
)
"""Fields of a Lab's spec by which addresses are given; machines bring the first one."""
BATCH = 200
"""Objects stored in one go; the daemon answers others in between."""
SHOWN = 10
"""So many objects are named before "and more"."""
EMPTYING = 60.0
"""Seconds that a namespace which is to be made anew may take to go."""
STOPPING = 10.0
"""Seconds that `pause` waits for a sync that is under way."""


class Changing:
    """Each yields events and ends when the kernel has caught up. What is checked and written is so by one request after
    the other; nobody waits for another one's kernel."""

    def __init__(self, cluster: Cluster, agents: Agents, leases: Leases, remote: Remote | None) -> None:
        self._cluster, self._agents, self._leases, self._remote = cluster, agents, leases, remote
        self._one_at_a_time = asyncio.Lock()
        self._writing: set[asyncio.Task[Any]] = set()

    @answers(UP)
    async def up(self, asked: Up) -> AsyncIterator[ChangeEvent]:
        """Makes the store hold these objects and none that an earlier `up` brought, and waits for the kernel."""
        began, followed, changes = time.monotonic(), Followed(), _no_changes()
        objects = [_marked(obj) for obj in dns_last.with_cluster_dns(_decoded(asked.objects))]

        last: list[Object] = []

        async def write(tell: Tell) -> None:
            await self._cluster.restore()
            self._refuse_rebuilding(objects)
            keep = {(type(obj), obj.key) for obj in objects}
            stored = [obj for kind in self._cluster.snapshot.objects.values() for obj in kind.values()]
            brought = [obj for obj in stored if BROUGHT in obj.metadata.annotations]
            gone = [obj for obj in brought if (type(obj), obj.key) not in keep]
            anew = self._to_make_anew(objects)
            self._check(objects, without=[*gone, *anew])
            for warning in room.warnings(objects, there=self._cluster.snapshot.all(Pod).values()):
                tell(Warning(warning))
            if not asked.yes:
                own_kinds = [[o for o in some if not isinstance(o, Ignored)] for some in (gone, brought)]
                refuse_emptying(own_kinds[0], len(own_kinds[1]))
            for lab in [obj for obj in objects if isinstance(obj, Lab)]:
                iptables.variant(lab.spec.proxy.iptables)  # said now rather than with half a lab built
            # Those that go first make room: their node ports and addresses may be given to the new ones.
            await self._remove(gone, changes, followed, tell)
            for obj in anew:
                going = obj.metadata.deletionTimestamp
                why = "it was being deleted" if going else "what changed of it cannot be updated"
                tell(Warning(f"{_title(obj)} is made anew: {why}"))
            await self._remove(anew, changes, followed, tell, force=True)
            last[:] = dns_last.held_back(objects, self._cluster.snapshot)
            await self._store(objects, changes, followed, tell)

        async for event in self._written(write, asked.timeout):
            yield event
        async for event in self._joined(asked.timeout):
            yield event
        async for event in self._dns(last, changes, followed, asked.timeout):
            yield event
        async for event in self._converged(followed, began, changes, asked):
            yield event

    async def _dns(
        self, held_back: list[Object], changes: Changes, followed: Followed, timeout: float
    ) -> AsyncIterator[ChangeEvent]:
        """Writes what was held back, after the request's other pods have their addresses."""
        if not held_back:
            return

        async def write(tell: Tell) -> None:
            await self._store(held_back, changes, followed, tell)

        async for waiting in dns_last.addressed(self._cluster, followed):
            yield waiting
        async for event in self._written(write, timeout):
            yield event

    @answers(APPLY)
    async def apply(self, asked: Change) -> AsyncIterator[ChangeEvent]:
        """As `kubectl apply`: creates or changes these objects, leaves all others."""
        began, followed, changes = time.monotonic(), Followed(), _no_changes()
        objects = _decoded(asked.objects)

        async def write(tell: Tell) -> None:
            self._refuse_rebuilding(objects)
            for warning in self._check(objects):
                tell(Warning(warning))
            await self._store(objects, changes, followed, tell)

        async for event in self._written(write, asked.timeout):
            yield event
        async for event in self._converged(followed, began, changes, asked):
            yield event

    @answers(DELETE)
    async def delete(self, asked: Change) -> AsyncIterator[ChangeEvent]:
        began, followed, changes = time.monotonic(), Followed(), _no_changes()
        objects, missing = _decoded(asked.objects), list[Object]()
        for obj in objects:
            refuse_deletion(obj)

        async def write(tell: Tell) -> None:
            there: list[Object] = []
            for obj in objects:
                found = self._cluster.snapshot.get(type(obj), obj.name, obj.namespace)
                if found or not isinstance(obj, Ignored):
                    (there if found else missing).append(obj)
            await self._remove(there, changes, followed, tell)

        async for event in self._written(write, asked.timeout):
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
        async for event in self._converged(followed, began, _no_changes(), asked):
            yield event

    @answers(PAUSE)
    async def pause(self, asked: NodeName) -> Paused:
        return await self._paused(asked.node, True)

    @answers(RESUME)
    async def resume(self, asked: NodeName) -> Paused:
        return await self._paused(asked.node, False)

    async def _paused(self, name: str, paused: bool) -> Paused:
        """Kept in the Node, so that the pause outlives the daemon. An agent of this machine has stopped when this
        returns.

        Waits for nobody's request, and for no longer than STOPPING for a sync that is under way.
        """
        node = self._cluster.snapshot.node(name)
        await self._cluster.edit(node, lambda stored: with_pause(stored, paused))
        warning = ""
        if task := self._agents.node(name):
            stored = self._cluster.snapshot.get(Node, name)
            task.keep_pause(is_paused(stored) if stored else paused)
            if paused and not await task.rests(STOPPING):
                warning = f"{name}: a repair that had begun before is still under way"
        return Paused(name, paused, warning)

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
            if not any(changes.values()):
                for task in self._agents.tasks:  # nothing else makes them look whether all is as it should be
                    task.look()
            waiting = converge(self._cluster, self._agents, self._remote, followed, since=since, timeout=asked.timeout)
            async with aclosing(waiting) as events:
                async for event in events:
                    yield event
        if refused:
            raise refused
        told = {outcome: tuple(titles) for outcome, titles in changes.items()}
        yield Done(round(time.monotonic() - since, 3), **told)

    async def _written(self, write: Callable[[Tell], Awaitable[None]], timeout: float) -> AsyncIterator[ChangeEvent]:
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
                    async with asyncio.timeout(BEAT):
                        event = await events.get()
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

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """A write that has begun is finished even when the client has gone."""
        task = asyncio.ensure_future(work)
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return await asyncio.shield(task)

    async def _store(self, objects: list[Object], changes: Changes, followed: Followed, tell: Tell) -> None:
        for namespace in self._undeclared(objects):
            tell(Warning(f"namespace {namespace.name!r} is not declared; it is created"))
            await self._whole(self._cluster.apply(namespace))
        ordered = in_order(objects)
        objects.clear()  # the store has them now, and its snapshot
        with self._cluster.bulk():
            for batch in (ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH)):
                for obj, outcome in zip(batch, await self._whole(self._cluster.apply_many(batch)), strict=True):
                    if isinstance(obj, Ignored):
                        continue  # no kernel has anything of it
                    followed.comes(obj)
                    if outcome != "unchanged":
                        changes["created" if outcome == "created" else "updated"].append(_title(obj))
                    tell(Changed(outcome, obj.KIND, obj.name))
                await asyncio.sleep(0)
        if any(isinstance(obj, NetworkPolicy) for obj in ordered) and (idle := without_effect(self._cluster.snapshot)):
            tell(Warning(idle))

    async def _remove(
        self, objects: Iterable[Object], changes: Changes, followed: Followed, tell: Tell, force: bool = False
    ) -> None:
        for obj in objects:
            stored = self._cluster.snapshot.get(type(obj), obj.name, obj.namespace)
            if stored is not None:  # else a controller took it along with its owner
                followed.goes(stored, self._cluster.snapshot)
                with contextlib.suppress(NotFoundError):
                    await self._whole(self._cluster.delete(stored, force))
                if force and isinstance(stored, Namespace):
                    await self._emptied(stored)
            if isinstance(obj, Ignored):
                continue
            changes["deleted"].append(_title(obj))
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

    def _check(self, objects: list[Object], without: Iterable[Object] = ()) -> list[str]:
        """Refuses all of them when one does not go with the others or with what is stored; returns warnings.

        Notices concern a manifest by itself: who has read it has said them."""
        gone = ((type(o), o.key, None) for o in without)
        existing = self._cluster.snapshot.changed(gone, self._cluster.snapshot.revision)
        said: dict[str, list[str]] = {"error": [], "warning": [], "notice": []}
        for problem in validate(objects, existing):
            source = problem.object.source
            said[problem.severity].append(f"{source}: {problem}" if source else str(problem))
        if said["error"]:
            raise ManifestError(said["error"], "nothing was changed")
        return said["warning"]

    def _to_make_anew(self, objects: Iterable[Object]) -> list[Object]:
        """What an `up` brought and this one wants otherwise, in what no update can change; and what is wanted and was
        being deleted (a crash may have come in between)."""
        stored = ((new, self._cluster.snapshot.get(type(new), new.name, new.namespace)) for new in objects)
        return [
            old
            for new, old in stored
            if old
            and (old.metadata.deletionTimestamp or (BROUGHT in old.metadata.annotations and is_another(new, old)))
        ]

    def _refuse_rebuilding(self, objects: list[Object]) -> None:
        """The addresses of a running lab stay; another plan of addresses is another lab."""
        old = next(iter(self._cluster.snapshot.all(Lab).values()), None)
        for new in objects:
            if not isinstance(new, Lab) or old is None:
                continue
            for field in PLAN[1:] if new.spec.machines else PLAN:
                value = attrgetter(field)
                if value(new.spec) != value(old.spec):
                    raise InputError(
                        f"{new.source or 'Lab'}: spec.{field} cannot be changed while the lab runs",
                        "`k8snetlab down` first, then `up`",
                    )


def refuse_emptying(gone: list[Object], brought: int) -> None:
    """Raises UnconfirmedError where `up` would take away more objects than it leaves of those that it once brought."""
    if len(gone) <= brought - len(gone):
        return
    names = [_title(obj) for obj in gone]
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    raise UnconfirmedError(
        f"this deletes {len(gone)} of the {brought} objects that `up` brought: {shown}",
        "--yes if that is meant; nothing was changed",
    )


def _decoded(bodies: list[Any]) -> list[Object]:
    """The objects, taken out of the list: as bodies they weigh far more, and the request is held to its end."""
    bodies.reverse()
    objects = []
    while bodies:
        objects.append(decode(bodies.pop()))
    return objects


def _marked(obj: Object) -> Object:
    annotations = {**obj.metadata.annotations, BROUGHT: "true"}
    return msgspec.structs.replace(obj, metadata=msgspec.structs.replace(obj.metadata, annotations=annotations))


def _no_changes() -> Changes:
    return {"created": [], "updated": [], "deleted": []}


def _title(obj: Object) -> str:
    return f"{obj.KIND.lower()}/{obj.name}"
