"""Changing a lab's objects: up, apply, delete, and pausing an agent; what does not go together is refused first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from operator import attrgetter
from typing import Any

import msgspec

from k8snetlab.api.body import decode
from k8snetlab.api.core import Namespace, Node
from k8snetlab.api.lab import Lab
from k8snetlab.api.machines import is_machine
from k8snetlab.api.meta import Object
from k8snetlab.api.validate import validate
from k8snetlab.controllers import namespaces
from k8snetlab.controllers.admission import in_order
from k8snetlab.errors import InputError, ManifestError, NotFoundError
from k8snetlab.kernel import iptables
from k8snetlab.lab.across.remote import Remote
from k8snetlab.lab.agents import Agents, with_pause
from k8snetlab.lab.cluster import UP, Cluster
from k8snetlab.lab.convergence import converge
from k8snetlab.lab.machines.leases import Leases

Event = dict[str, Any]
PLAN = (
    *("underlay", "podCIDR", "serviceCIDR", "machines"),
    *(f"network.{family}{end}" for family in ("subnet", "ipv6Subnet") for end in ("Len", "Min", "Max")),
)
"""Fields of a Lab's spec by which addresses are given; machines bring the first one."""
BATCH = 200
"""Objects stored in one go; the daemon answers others in between."""


class Changing:
    """Each yields events and ends when the kernel has caught up."""

    def __init__(self, cluster: Cluster, agents: Agents, leases: Leases, remote: Remote | None) -> None:
        self._cluster, self._agents, self._leases, self._remote = cluster, agents, leases, remote
        self._one_at_a_time = asyncio.Lock()

    async def up(self, bodies: list[Event]) -> AsyncIterator[Event]:
        """Makes the store hold these objects and none that an earlier `up` brought, and waits for the kernel."""
        began = time.monotonic()
        objects = [_marked(obj) for obj in _decoded(bodies)]
        async with self._one_at_a_time:
            await self._cluster.restore()
            self._refuse_rebuilding(objects)
            keep = {(type(obj), obj.key) for obj in objects}
            gone = [
                obj
                for kind in self._cluster.snapshot.objects.values()
                for obj in kind.values()
                if UP in obj.metadata.annotations and (type(obj), obj.key) not in keep
            ]
            self._check(objects, without=gone)
            for lab in [obj for obj in objects if isinstance(obj, Lab)]:
                iptables.variant(lab.spec.proxy.iptables)  # said now rather than with half a lab built
            changes: dict[str, list[str]] = {"created": [], "updated": [], "deleted": []}
            # Those that go first make room: their node ports and addresses may be given to the new ones.
            async for event in self._remove(gone, changes):
                yield event
            async for event in self._store(objects, changes):
                yield event
            await self._leases.registered()
            async for event in converge(self._cluster, self._agents, self._remote):
                yield event
            for name in [task.name for task in self._agents.tasks if task.state.paused]:
                yield {"type": "warning", "message": f"{name} is paused: nothing was changed there (resume {name})"}
        yield {"type": "done", "seconds": round(time.monotonic() - began, 3), **changes}

    async def apply(self, bodies: list[Event]) -> AsyncIterator[Event]:
        """As `kubectl apply`: creates or changes these objects, leaves all others."""
        began = time.monotonic()
        objects = _decoded(bodies)
        async with self._one_at_a_time:
            self._refuse_rebuilding(objects)
            for warning in self._check(objects):
                yield {"type": "warning", "message": warning}
            changes: dict[str, list[str]] = {"created": [], "updated": [], "deleted": []}
            async for event in self._store(objects, changes):
                yield event
            async for event in converge(self._cluster, self._agents, self._remote):
                yield event
        yield {"type": "done", "seconds": round(time.monotonic() - began, 3), **changes}

    async def delete(self, bodies: list[Event]) -> AsyncIterator[Event]:
        began = time.monotonic()
        objects = _decoded(bodies)
        for obj in objects:
            refuse_deletion(obj)
        async with self._one_at_a_time:
            missing = [o for o in objects if self._cluster.snapshot.get(type(o), o.name, o.namespace) is None]
            changes: dict[str, list[str]] = {"created": [], "updated": [], "deleted": []}
            async for event in self._remove([o for o in objects if o not in missing], changes):
                yield event
            async for event in converge(self._cluster, self._agents, self._remote):
                yield event
        if missing:
            raise NotFoundError("\n".join(f"{o.KIND.lower()} {o.name!r} not found" for o in missing))
        yield {"type": "done", "seconds": round(time.monotonic() - began, 3), **changes}

    async def pause(self, name: str, paused: bool) -> Event:
        """Kept with the Node, so that it outlives the daemon."""
        node = self._cluster.snapshot.node(name)
        await self._cluster.edit(node, lambda stored: with_pause(stored, paused))
        while (task := self._agents.node(name)) is not None and task.state.paused != paused:
            await asyncio.sleep(0.005)
        return {"node": name, "paused": paused}

    async def _store(self, objects: list[Object], changes: dict[str, list[str]]) -> AsyncIterator[Event]:
        for namespace in self._undeclared(objects):
            yield {"type": "warning", "message": f"namespace {namespace.name!r} is not declared; it is created"}
            await self._cluster.apply(namespace)
        ordered = in_order(objects)
        objects.clear()  # the store has them now, and its snapshot
        with self._cluster.bulk():
            for batch in (ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH)):
                for obj, outcome in zip(batch, await self._cluster.apply_many(batch), strict=True):
                    if outcome != "unchanged":
                        changes["created" if outcome == "created" else "updated"].append(_title(obj))
                    yield {"type": "changed", "action": outcome, "kind": obj.KIND, "name": obj.name}
                await asyncio.sleep(0)

    async def _remove(self, objects: Iterable[Object], changes: dict[str, list[str]]) -> AsyncIterator[Event]:
        for obj in objects:
            await self._cluster.delete(obj)
            changes["deleted"].append(_title(obj))
            yield {"type": "changed", "action": "deleted", "kind": obj.KIND, "name": obj.name}

    def _undeclared(self, objects: list[Object]) -> list[Namespace]:
        known = {name for _, name in self._cluster.snapshot.all(Namespace)}
        known |= {"default"} | {o.name for o in objects if isinstance(o, Namespace)}
        wanted = dict.fromkeys(o.namespace for o in objects if o.namespaced and o.namespace not in known)
        return [msgspec.convert({"metadata": {"name": name}}, Namespace) for name in wanted]

    def _check(self, objects: list[Object], without: Iterable[Object] = ()) -> list[str]:
        """Refuses all of them when one does not go with the others or with what is stored; returns warnings."""
        gone = ((type(o), o.key, None) for o in without)
        existing = self._cluster.snapshot.changed(gone, self._cluster.snapshot.revision)
        said: dict[str, list[str]] = {"error": [], "warning": []}
        for problem in validate(objects, existing):
            source = problem.object.source
            said[problem.severity].append(f"{source}: {problem}" if source else str(problem))
        if said["error"]:
            raise ManifestError(said["error"], "nothing was changed")
        return said["warning"]

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


def refuse_deletion(obj: Object) -> None:
    """Raises InputError for what a controller would only bring back."""
    if isinstance(obj, Lab):
        raise InputError("a lab is not deleted among its objects", "`k8snetlab down` takes it down")
    if isinstance(obj, Node) and is_machine(obj):
        if all(c.status != "Unknown" for c in obj.status.conditions if c.type == "Ready"):
            raise InputError(f"{obj.name} is a machine that lives", "`k8snetlab node leave` on it takes it out")
    elif isinstance(obj, Node):
        raise InputError("a node comes and goes with the lab file", "take it out of spec.nodes and `up` again")
    if isinstance(obj, Namespace) and obj.name in namespaces.SYSTEM:
        raise InputError(f"namespaces {obj.name!r} is forbidden: this namespace may not be deleted")


def _decoded(bodies: list[Event]) -> list[Object]:
    """The objects, taken out of the list: as bodies they weigh far more, and the request is held to its end."""
    bodies.reverse()
    objects = []
    while bodies:
        objects.append(decode(bodies.pop()))
    return objects


def _marked(obj: Object) -> Object:
    annotations = {**obj.metadata.annotations, UP: "true"}
    return msgspec.structs.replace(obj, metadata=msgspec.structs.replace(obj.metadata, annotations=annotations))


def _title(obj: Object) -> str:
    return f"{obj.KIND.lower()}/{obj.name}"
