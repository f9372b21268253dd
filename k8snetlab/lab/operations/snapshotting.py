"""Snapshots of a lab: what it holds is told, and what it held is brought back in one go."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from k8snetlab.api.ignored import Ignored
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.controllers import returning
from k8snetlab.controllers.returning import Return
from k8snetlab.errors import ConflictError, InputError, UnsupportedError
from k8snetlab.kernel import iptables
from k8snetlab.lab.operations.refusing import refuse_rebuilding, title
from k8snetlab.lab.operations.writing import Changes, Tell, Writing, no_changes
from k8snetlab.lab.table import answers
from k8snetlab.messages.changes import Changed, ChangeEvent, Done
from k8snetlab.messages.progress import Warning
from k8snetlab.messages.snapshots import KEPT, RESTORE, AllKept, KeptObject, Restore
from k8snetlab.messages.verb import Nothing
from k8snetlab.running.agents import Agents
from k8snetlab.running.convergence import converge
from k8snetlab.running.followed import Followed
from k8snetlab.state.injected import InjectedFaults
from k8snetlab.state.paths import LabPaths

SETTLING = 5.0
"""Seconds that controllers have to come to an end before a lab is kept as it is."""


class Snapshotting:
    def __init__(self, cluster: Cluster, agents: Agents, paths: LabPaths, writing: Writing) -> None:
        self._cluster, self._agents, self._paths, self._writing = cluster, agents, paths, writing

    @answers(KEPT)
    async def kept(self, _: Nothing) -> AsyncIterator[KeptObject | AllKept]:
        """What is kept of the lab, as it is at one revision. Raises ConflictError while a fault is in it."""
        self._refuse()
        await self._cluster.settled_within(SETTLING)
        snapshot = await self._cluster.whole()
        if not snapshot.all(Lab):
            raise ConflictError("the lab holds nothing yet", "`k8snetlab up` builds it")
        objects = returning.kept(snapshot)
        for obj in objects:
            entry = returning.entry_of(obj)
            yield KeptObject(entry.key, entry.value)
        yield AllKept(len(objects))

    @answers(RESTORE)
    async def restore(self, asked: Restore) -> AsyncIterator[ChangeEvent]:
        """Makes the lab hold what was kept, and nothing else, and waits for the kernel. Raises ManifestError,
        InputError or ConflictError, with nothing changed, where that cannot be."""
        began, followed, changes = time.monotonic(), Followed(), no_changes()
        wanted = returning.objects_of(asked.objects)

        async def write(tell: Tell) -> None:
            self._refuse()
            await self._cluster.restore()
            self._refuse_another(wanted)
            before = self._cluster.snapshot

            def told(back: Return) -> None:
                for obj in (*(old for _, old in back.replaced), *back.deleted):
                    followed.goes(obj, before)
                _tell(back, changes, tell)

            await self._writing.whole(self._cluster.go_back(wanted, told))
            for obj in wanted:
                if self._cluster.snapshot.get(type(obj), obj.name, obj.namespace) is not None:
                    followed.comes(obj)

        async for event in self._writing.written(write, asked.timeout):
            yield event
        async for event in self._followed(followed, began, asked.timeout, look=not any(changes.values())):
            yield event
        told = {outcome: tuple(titles) for outcome, titles in changes.items()}
        yield Done(round(time.monotonic() - began, 3), **told)

    async def _followed(
        self, followed: Followed, since: float, timeout: float, *, look: bool
    ) -> AsyncIterator[ChangeEvent]:
        if look:
            for task in self._agents.tasks:  # nothing else makes them look whether all is as it should be
                task.look()
        waiting = converge(self._cluster, self._agents, None, followed, since=since, timeout=timeout)
        async with aclosing(waiting) as events:
            async for event in events:
                yield event

    def _refuse(self) -> None:
        if any(lab.spec.machines for lab in self._cluster.snapshot.all(Lab).values()):
            raise UnsupportedError(
                "no snapshots of a lab of machines: its nodes come and go by themselves, and their leases with them",
                "`k8snetlab get KIND -A -o yaml` keeps objects; a snapshot of its etcd keeps all",
            )
        faults = InjectedFaults(self._paths).all
        if any(fault.hidden for fault in faults):
            raise ConflictError("a drill is under way", "`k8snetlab drill give-up` ends it")
        if faults:
            names = ", ".join(f"{fault.name} on {fault.node}" for fault in faults)
            raise ConflictError(f"a fault is in the lab: {names}", "`k8snetlab fault clear` first")

    def _refuse_another(self, wanted: Sequence[Object]) -> None:
        lab = next(obj for obj in wanted if isinstance(obj, Lab))
        if lab.name != self._paths.lab:
            raise InputError(f"this is a snapshot of lab {lab.name}, not of {self._paths.lab}", f"--lab {lab.name}")
        if lab.spec.machines:
            raise UnsupportedError("a snapshot of a lab of machines cannot be restored", "`k8snetlab node join`")
        refuse_rebuilding([lab], self._cluster.snapshot)
        iptables.variant(lab.spec.proxy.iptables)  # said now rather than with half a lab built


def _tell(back: Return, changes: Changes, tell: Tell) -> None:
    for pod in back.left_out:
        tell(
            Warning(f"pod {pod.namespace}/{pod.name} was a namespace of your own: `k8snetlab attach` plugs it in again")
        )
    for obj in back.deleted:
        _note(obj, "deleted", changes, tell)
    for obj, _ in (*back.replaced, *back.changed):
        _note(obj, "updated", changes, tell)
    for obj in back.created:
        _note(obj, "created", changes, tell)


def _note(obj: Object, outcome: str, changes: Changes, tell: Tell) -> None:
    if isinstance(obj, Ignored):
        return  # no kernel has anything of it
    changes[outcome].append(title(obj))
    action = {"updated": "configured"}.get(outcome, outcome)
    tell(Changed(action, obj.KIND, obj.name))  # type: ignore[arg-type]
