"""Faults: injected into this lab, written down first, and taken out again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from k8snetlab.addons.routing import talking
from k8snetlab.api.core import Pod
from k8snetlab.api.decoding import decode
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import BY_NAME, to_dict
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.dataplane.holds import Holds, named
from k8snetlab.dataplane.names import is_host
from k8snetlab.errors import InputError, K8sNetLabError, NotFoundError, UnsupportedError
from k8snetlab.faults import catalogue
from k8snetlab.faults.drill import may_be_hidden
from k8snetlab.faults.fault import VTYSH, Command, Damage, Edit, Fault, content
from k8snetlab.faults.injected import Injected, gone_already, held
from k8snetlab.faults.scene import number
from k8snetlab.kernel import typed
from k8snetlab.lab.table import answers
from k8snetlab.machines.leases import Leases
from k8snetlab.messages.faults import CLEAR, INJECT, INJECTED, InjectedFault, InjectedFaults, InjectQuestion
from k8snetlab.messages.verb import Nothing
from k8snetlab.running.agents import Agents
from k8snetlab.running.halting import Halting
from k8snetlab.state.injected import InjectedFaults as Kept
from k8snetlab.state.paths import LabPaths
from k8snetlab.store.keys import Keys

LEVELS = (0, 1, 2, 3)
SETTLING = 10.0
"""Seconds in which agents have mended what they were kept from."""


class Faulting:
    """What is injected stands in the lab's directory before it is done; agents leave it alone until it is cleared."""

    def __init__(self, cluster: Cluster, agents: Agents, leases: Leases, paths: LabPaths, keys: Keys) -> None:
        """To be made before any of them runs: they are told what to leave alone."""
        self._cluster, self._agents, self._leases, self._paths, self._keys = cluster, agents, leases, paths, keys
        self._faults = Kept(paths)
        agents.held = held(self._faults.all)
        cluster.hold(agents.held)
        leases.lost = named(agents.held, "lease")
        keys.ahead = _ahead(agents.held)
        self._halting = Halting(paths, named(agents.held, "process"))
        self.turn = asyncio.Lock()
        """Held while faults come or go."""
        self.behind: Callable[[Snapshot], list[str]] = lambda _: []
        """What else than agents has not taken up the objects of a snapshot; the daemon says who is asked."""

    @answers(INJECTED)
    async def injected(self, _: Nothing) -> InjectedFaults:
        return self._told()

    @answers(INJECT)
    async def inject(self, asked: InjectQuestion) -> InjectedFaults:
        async with self.turn:
            self._refuse_in_drills()
            fault = self._chosen(asked)
            await self.do(fault)
            return self._told((fault,))

    @answers(CLEAR)
    async def clear(self, _: Nothing) -> InjectedFaults:
        async with self.turn:
            self._refuse_in_drills()
            gone = self._faults.all
            notes = await self.undo(gone)
            return InjectedFaults(tuple(map(shown, gone)), notes)

    def _refuse_in_drills(self) -> None:
        if self.concealed:
            raise InputError("a drill is under way: faults are its own", "`k8snetlab drill give-up` ends it")

    # --- for drills too ---

    def hidden(self, seed: str, level: int) -> Injected:
        """What a drill is to hide. Raises K8sNetLabError."""
        if self._agents.here:
            raise UnsupportedError(
                "there are no drills where nodes are machines: an answer may be looked up on another one",
                "`k8snetlab fault inject NAME --node NODE` does it there; or a lab whose nodes are namespaces",
            )
        if self._faults.all:
            raise InputError("a fault is injected already", "`k8snetlab fault clear` first")
        return replace(self._chosen(InjectQuestion(seed=seed, level=level), may_be_hidden), hidden=True)

    @property
    def concealed(self) -> tuple[Injected, ...]:
        """What a drill hides."""
        return tuple(one for one in self._faults.all if one.hidden)

    async def do(self, fault: Injected) -> None:
        """Written down, held, done. Where a step is refused, those before it are undone, and not that one: what was in
        its way is somebody else's. Raises K8sNetLabError."""
        begun = 0
        self._faults.put(fault)
        try:
            await self._hold()
            for step in self._steps(fault.damage):
                begun += 1
                await step()
        except BaseException as error:
            part = _part(fault, begun - 1 if isinstance(error, K8sNetLabError) else begun)
            self._faults.drop(fault)
            self._faults.put(part)
            await self.undo((part,))
            raise

    async def undo(self, faults: tuple[Injected, ...]) -> tuple[str, ...]:
        """Takes them out, the last one first, and waits until agents have mended the rest; returns what is left.

        What is refused stops no other. Its fault stays written down, to be tried again; agents mend what they can.
        """
        refused: list[str] = []
        for fault in reversed(faults):
            said = [await self._undone(step) for step in self._back(fault.damage)]
            if left := [f"{fault.name}: {one}" for one in said if one]:
                refused += left
                self._faults.replace(fault, _left(fault))
            else:
                self._faults.drop(fault)
        await self._hold()
        await self._reached()
        return (*refused, *(await self._mended() if faults else ()))

    async def _hold(self) -> None:
        """Tells all who keep something what to leave as it is, and what no more."""
        holds = held(self._faults.all)
        self._cluster.hold(holds)
        self._keys.ahead = _ahead(holds)
        await self._leases.lose(named(holds, "lease"))
        await self._halting.hold(named(holds, "process"))
        await self._agents.hold(holds)

    def _back(self, damage: Damage) -> Iterator[Callable[[], Awaitable[None]]]:
        yield from (partial(asyncio.to_thread, self._run, command) for command in damage.undo)
        yield from (partial(self._put_back, edit) for edit in reversed(damage.edits))

    async def _undone(self, step: Callable[[], Awaitable[None]]) -> str:
        """Why it is not; "" where it is, by this step or by somebody's hand, or where its namespace has gone."""
        try:
            await step()
        except K8sNetLabError as error:
            return "" if isinstance(error, NotFoundError) or gone_already(error.message) else error.message
        return ""

    def _chosen(self, asked: InjectQuestion, suits: Callable[[Fault], bool] = lambda _: True) -> Injected:
        snapshot = self._cluster.snapshot
        here = self._agents.here
        if asked.level not in LEVELS:
            raise InputError(f"level: {asked.level} is none", "1, 2 or 3")
        if asked.node:
            snapshot.node(asked.node)
        variant = self._agents.variant
        if asked.name:
            fault = catalogue.fault(asked.name)
            if any(one.name == fault.name for one in self._faults.all):
                raise InputError(f"{fault.name} is injected already", "`k8snetlab fault clear` first")
            node, damage = catalogue.damage(fault, snapshot, asked.node or here, variant, number(asked.seed))
        else:
            fault, node, damage = catalogue.chosen(
                snapshot, variant, asked.seed, asked.level, node=asked.node or here, suits=suits
            )
        return Injected(fault.name, node, round(time.time(), 3), damage)

    def _told(self, faults: tuple[Injected, ...] | None = None) -> InjectedFaults:
        found = self._faults.all if faults is None else faults
        return InjectedFaults(tuple(shown(one) for one in found if not one.hidden))

    def _steps(self, damage: Damage) -> Iterator[Callable[[], Awaitable[None]]]:
        yield from (partial(asyncio.to_thread, self._run, command) for command in damage.does)
        yield from (partial(self._edited, edit) for edit in damage.edits)
        if damage.edits or named(damage.holds, "lease"):  # what follows from these is to show at once
            yield partial(self._reached, damage.edits)

    def _run(self, command: Command) -> None:
        if self._agents.here and is_host(command.netns):
            typed.run_here(command.argv)
        elif command.argv[0] == VTYSH:
            name = command.netns.removeprefix(f"{self._paths.lab}.")
            where, talk = talking(self._cluster.snapshot.lab, self._paths.addons / name)
            typed.run(command.netns, (*talk, *command.argv[1:]), self._paths.xtables_locks / command.netns, where)
        else:
            typed.run(command.netns, command.argv, self._paths.xtables_locks / command.netns)

    async def _edited(self, edit: Edit) -> None:
        type_ = BY_NAME[edit.kind.lower()].type
        if edit.before is None and not edit.annotation:
            await self._cluster.create(decode(type_, msgspec.json.encode(edit.after)))
        else:
            await self._cluster.edit(self._cluster.current(type_, edit.name, edit.namespace), _with(edit, edit.after))

    async def _put_back(self, edit: Edit) -> None:
        """What somebody else has changed since is left as it is."""
        type_ = BY_NAME[edit.kind.lower()].type
        with contextlib.suppress(NotFoundError):
            now = self._cluster.current(type_, edit.name, edit.namespace)
            if edit.annotation:
                is_ours = now.metadata.annotations.get(edit.annotation) == edit.after
            elif edit.before is None:
                await self._cluster.delete(now)
                return
            else:
                is_ours = content(to_dict(now)) == edit.after
            if is_ours:
                await self._cluster.edit(now, _with(edit, edit.before))

    async def _reached(self, edits: tuple[Edit, ...] = ()) -> None:
        """Until what was changed of objects is in the kernels and nginx, and new pods run; not for ever, as an agent
        may hang."""
        began = time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLING):
                for edit in edits:
                    while edit.kind == "Pod" and not self._cluster.current(Pod, edit.name, edit.namespace).ready:
                        await asyncio.sleep(0.05)
                await self._cluster.settled()
                while not self._agents.all_synced(self._cluster.snapshot, began) or self.behind(self._cluster.snapshot):
                    await asyncio.sleep(0.02)

    async def _mended(self) -> tuple[str, ...]:
        deadline = time.monotonic() + SETTLING
        while True:
            left = [f"{task.name}: {line}" for task in self._agents.tasks for line in await _drift(task)]
            if not left or time.monotonic() > deadline:
                return tuple(left)
            await asyncio.sleep(0.05)


def _ahead(holds: Holds) -> float:
    return sum(map(float, named(holds, "clock")))


def _part(fault: Injected, steps: int) -> Injected:
    """The fault, of which only the first steps are to be undone."""
    damage = fault.damage
    undo, edits = damage.undo if steps > 0 else (), damage.edits[: max(0, steps - len(damage.does))]
    return replace(fault, damage=replace(damage, undo=undo, edits=edits))


def _left(fault: Injected) -> Injected:
    """A fault that could not be taken out altogether: nobody hides it, and nothing is kept from agents any more."""
    return replace(fault, hidden=False, damage=replace(fault.damage, holds=()))


async def _drift(task: Any) -> list[str]:
    try:
        found: list[str] = await task.drift()
        return found
    except K8sNetLabError as error:
        return [error.message]


def _with(edit: Edit, written: Any) -> Any:
    def changed(stored: Object) -> Object:
        if not edit.annotation:
            return decode(type(stored), msgspec.json.encode(to_dict(stored) | written))
        others = {key: value for key, value in stored.metadata.annotations.items() if key != edit.annotation}
        annotations = others if written is None else others | {edit.annotation: written}
        return replace(stored, metadata=replace(stored.metadata, annotations=annotations))

    return changed


def shown(one: Injected) -> InjectedFault:
    declared = catalogue.fault(one.name)
    damage = one.damage
    return InjectedFault(
        name=one.name,
        title=declared.title,
        level=declared.level,
        node=one.node,
        object=damage.object,
        symptom=declared.symptom,
        probe=str(damage.seen),
        commands=tuple(map(str, (*damage.does, *damage.edits))),
        since=one.at,
    )
