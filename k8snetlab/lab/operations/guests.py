"""The guests of a lab: how those of this machine run, and what they wrote."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec

from k8snetlab.addons.keeper import trouble
from k8snetlab.addons.kubelet import Kubelet
from k8snetlab.addons.program import GUEST
from k8snetlab.api.core import ContainerStatus, Node
from k8snetlab.api.guest import Guest
from k8snetlab.api.selection import node_of_guest, pod_of_guest
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.workload import ADDON, PodState
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import DaemonError, NotFoundError
from k8snetlab.lab.table import answers
from k8snetlab.messages.guests import GUEST_LOGS, GUESTS, GuestList, GuestLog, GuestState
from k8snetlab.messages.places import Written
from k8snetlab.messages.verb import Nothing
from k8snetlab.running import logs
from k8snetlab.running.agents import Agents, is_paused
from k8snetlab.state.paths import LabPaths
from k8snetlab.wording import nearest

ADD_ONS = "add-ons"
"""The manager that keeps guests."""
NEXT = 0.2
"""Seconds between two looks whether a guest has begun another run."""


class Guests:
    def __init__(self, cluster: Cluster, agents: Agents, paths: LabPaths) -> None:
        self._cluster, self._agents, self._paths = cluster, agents, paths
        self._kubelet = Kubelet(paths.kubelet_socket)

    @answers(GUESTS)
    async def states(self, _: Nothing) -> GuestList:
        """Of those that run elsewhere it says that their state is not known here."""
        try:
            held, problem = await asyncio.to_thread(self._kubelet.addons, ADDON), ""
        except DaemonError as error:
            held, problem = {}, error.message
        snapshot, here = self._cluster.snapshot, self._agents.local(self._cluster.snapshot)
        running = _by_name(held)
        guests = sorted(snapshot.all(Guest).values(), key=lambda guest: guest.name)
        found = (_state(guest, snapshot, here, running, problem) for guest in guests)
        return GuestList(tuple(map(self._explained, found)))

    def _explained(self, state: GuestState) -> GuestState:
        """With what keeps it from being begun, where the node's agent says so."""
        task = self._agents.node(state.node)
        if state.tried or state.state != "Waiting" or task is None:
            return state
        said = [one for one in task.state.managers if one.name == ADD_ONS]
        own = f"guest {state.name}: "
        warnings = [text.removeprefix(own) for one in said for text in one.warnings if text.startswith(own)]
        problems = warnings or [one.error for one in said if one.error]
        return msgspec.structs.replace(state, message=problems[0], tried=True) if problems else state

    @answers(GUEST_LOGS)
    async def log(self, asked: GuestLog) -> AsyncIterator[Written]:
        guest = self._guest(asked.name)
        program = f"{GUEST}{guest.name}"
        directory = self._paths.addons / asked.node / program / "log" / program
        kept = await asyncio.to_thread(logs.runs, directory)
        if asked.previous:
            if len(kept) < 2:
                raise NotFoundError(f"guest {guest.name} has not been started again yet", "leave --previous out")
            kept = kept[:-1]
        elif not kept and not asked.follow:
            return
        last = asked.tailLines
        run = kept[-1] if kept else None
        while True:
            if run is not None:
                async for data in self._run(directory, run, asked, last, guest):
                    yield Written(data)
                last = -1
            if not asked.follow or asked.previous or self._ended(guest):
                return
            run = await self._next(directory, run, guest)

    def _run(self, directory: Path, run: int, asked: GuestLog, last: int, guest: Guest) -> AsyncIterator[bytes]:
        def ended() -> bool:
            return self._ended(guest) or logs.runs(directory)[-1:] != [run]

        return logs.read(directory / f"{run}.log", asked.follow and not asked.previous, logs.Wanted(last), ended)

    async def _next(self, directory: Path, run: int | None, guest: Guest) -> int | None:
        """The run after `run`, once there is one; None where the guest is gone first."""
        while not self._ended(guest):
            later = [one for one in logs.runs(directory) if run is None or one > run]
            if later:
                return later[0]
            await asyncio.sleep(NEXT)
        return None

    def _ended(self, guest: Guest) -> bool:
        """Whether it was stopped; one of the same name that came after it is another one."""
        now = self._cluster.snapshot.get(Guest, guest.name)
        return now is None or now.metadata.uid != guest.metadata.uid

    def _guest(self, name: str) -> Guest:
        guests = {guest.name: guest for guest in self._cluster.snapshot.all(Guest).values()}
        if name not in guests:
            known = f"guests: {', '.join(guests)}" if guests else "`k8snetlab guest start` starts one"
            raise NotFoundError(f"guest {name!r} not found", nearest(name, guests, known))
        return guests[name]


def _by_name(held: Mapping[str, PodState]) -> dict[tuple[str, str], ContainerStatus]:
    """The containers of guests, by node and guest."""
    found: dict[tuple[str, str], ContainerStatus] = {}
    for uid, state in held.items():
        _, node, program, _ = uid.split("/")
        if program.startswith(GUEST) and state.containers:
            found[node, program.removeprefix(GUEST)] = state.containers[0]
    return found


def _state(
    guest: Guest,
    snapshot: Snapshot,
    here: set[str],
    running: Mapping[tuple[str, str], ContainerStatus],
    problem: str,
) -> GuestState:
    node = node_of_guest(guest, snapshot)
    state, message = "Waiting", _nowhere(guest, snapshot, node)
    known = GuestState(
        name=guest.name, node=node, pod=guest.pod, state=state, message=message, command=guest.spec.command
    )
    if message:
        return known
    if node not in here:
        return msgspec.structs.replace(known, state="Unknown", message=f"{node} is another machine's")
    container = running.get((node, guest.name))
    if container is None or _is_fresh(container):
        return msgspec.structs.replace(known, message=problem or _about(guest, snapshot, node))
    why = trouble(container)
    began = container.state.running
    return msgspec.structs.replace(
        known,
        state="Waiting" if why else "Running",
        message=why,
        tried=True,
        restarts=container.restartCount,
        since=began.startedAt if began else None,
    )


def _is_fresh(container: ContainerStatus) -> bool:
    """Whether its first run is about to begin."""
    return container.state.waiting is not None and container.lastState.terminated is None


def _about(guest: Guest, snapshot: Snapshot, node: str) -> str:
    """Why a guest of this machine has not been begun."""
    held = snapshot.get(Node, node)
    if held is not None and is_paused(held):
        return f"{node} is paused: `k8snetlab resume {node}`"
    return "it is about to be started"


def _nowhere(guest: Guest, snapshot: Snapshot, node: str) -> str:
    """Why a guest is nowhere, "" where it is to run on a node of the lab."""
    if guest.spec.podName and not node:
        pod = pod_of_guest(guest, snapshot)
        if pod is None:
            return f"there is no pod {guest.pod}"
        return f"pod {guest.pod} {'has ended' if pod.ended else 'is on no node yet'}"
    if snapshot.get(Node, node) is None:
        return f"the lab has no node {node} any more"
    return ""
