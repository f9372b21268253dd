"""The answers of all machines made into one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from msgspec.structs import replace

from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import K8sNetLabError
from k8snetlab.explain.places import all_places
from k8snetlab.explain.targets import all_targets
from k8snetlab.lab.table import merges
from k8snetlab.messages.controlplane import CONTROL_PLANE, ControlPlane, MachineState
from k8snetlab.messages.faults import CLEAR, INJECTED, InjectedFaults
from k8snetlab.messages.guests import GUESTS, GuestList, GuestState
from k8snetlab.messages.nodes import MISSES, AnsweredMiss, Listening, MissesQuestion, MissEvent
from k8snetlab.messages.probe import PROBE, ProbeQuestion, ProbeResult, ProbeResults
from k8snetlab.messages.progress import Warning
from k8snetlab.messages.status import STATUS, LabStatus, MachineStatus, NodeStatus
from k8snetlab.messages.verb import Nothing


class Merging:
    """`here` is this machine's node."""

    def __init__(self, cluster: Cluster, here: str) -> None:
        self._cluster, self._here = cluster, here

    @merges(STATUS)
    def status(self, _: Nothing, mine: LabStatus, others: Mapping[str, LabStatus | K8sNetLabError]) -> LabStatus:
        """With every machine's nodes and problems, and `machines`: what each said of its processes."""
        said = {self._here: mine} | {node: one for node, one in others.items() if isinstance(one, LabStatus)}
        states = {state.name: state for one in said.values() for state in one.nodes if state.answers}
        problems = list(mine.problems)
        for node, one in others.items():
            if isinstance(one, K8sNetLabError):
                problems.append(_of(node, one.message))
            else:
                problems += [_of(node, problem) for problem in one.problems if problem not in problems]
        return replace(
            mine,
            nodes=tuple(states.get(state.name) or _unseen(state, others.get(state.name)) for state in mine.nodes),
            problems=tuple(dict.fromkeys(problems)),
            machines={
                node: MachineStatus(one.daemon, one.kubelet, one.store, one.iptables) for node, one in said.items()
            },
        )

    @merges(PROBE)
    def probe(
        self, question: ProbeQuestion, mine: ProbeResults, others: Mapping[str, ProbeResults | K8sNetLabError]
    ) -> ProbeResults:
        """Every machine probes from its own places; the results stand as if one had done it all."""
        snapshot, results, pairs = self._cluster.snapshot, [*mine.results], mine.pairs
        for node, one in others.items():
            told = _untried(snapshot, node, question, one) if isinstance(one, K8sNetLabError) else one.results
            pairs += len(told) if isinstance(one, K8sNetLabError) else one.pairs
            results += told
        order = {place.name: number for number, place in enumerate(all_places(snapshot))}
        return ProbeResults(tuple(sorted(results, key=lambda result: order.get(result.source, len(order)))), pairs)

    @merges(INJECTED)
    def injected(
        self, _: Nothing, mine: InjectedFaults, others: Mapping[str, InjectedFaults | K8sNetLabError]
    ) -> InjectedFaults:
        """Those of every machine; of one that does not answer a note says so."""
        return _faults(mine, others)

    @merges(CLEAR)
    def cleared(
        self, _: Nothing, mine: InjectedFaults, others: Mapping[str, InjectedFaults | K8sNetLabError]
    ) -> InjectedFaults:
        """Each machine has taken out its own."""
        return _faults(mine, others)

    @merges(CONTROL_PLANE)
    def control_plane(
        self, _: Nothing, mine: ControlPlane, others: Mapping[str, ControlPlane | K8sNetLabError]
    ) -> ControlPlane:
        """With every machine: what it said of itself, or why it says nothing; and all nodes' agents."""
        told = [mine, *(one for one in others.values() if isinstance(one, ControlPlane))]
        newest = max(one.revision for one in told)
        machines = [replace(machine, behind=newest - machine.revision) for one in told for machine in one.machines] + [
            MachineState(node, "", leads=False, revision=-1, behind=0, problem=one.message)
            for node, one in others.items()
            if isinstance(one, K8sNetLabError)
        ]
        return replace(
            mine,
            machines=tuple(sorted(machines, key=lambda one: one.node)),
            agents=tuple(sorted((lag for one in told for lag in one.agents), key=lambda one: one.node)),
        )

    @merges(GUESTS)
    def guests(self, _: Nothing, mine: GuestList, others: Mapping[str, GuestList | K8sNetLabError]) -> GuestList:
        """Each guest as its own machine sees it."""

        def seen(state: GuestState) -> GuestState:
            said = others.get(state.node)
            if isinstance(said, K8sNetLabError):
                return replace(state, message=said.message)
            return next((one for one in said.guests if one.name == state.name), state) if said else state

        return GuestList(tuple(map(seen, mine.guests)))

    @merges(MISSES)
    async def misses(
        self, _: MissesQuestion, mine: AsyncIterator[MissEvent], others: Mapping[str, AsyncIterator[MissEvent]]
    ) -> AsyncIterator[MissEvent]:
        """First `Listening`, once each of them listens, then what they hear, and a warning for a machine that does not
        answer, or no longer."""
        heard: asyncio.Queue[MissEvent | K8sNetLabError] = asyncio.Queue()
        tasks = [asyncio.create_task(_pour(mine, heard, needed=True))]
        tasks += [asyncio.create_task(_pour(stream, heard)) for stream in others.values()]
        listening: list[str] = []
        early: list[AnsweredMiss | Warning] = []
        try:
            while len(listening) + sum(isinstance(event, Warning) for event in early) < len(tasks):
                event = await _next(heard)
                if isinstance(event, Listening):
                    listening += event.nodes
                else:
                    early.append(event)
            yield Listening(tuple(sorted(listening)))
            for event in early:
                yield event
            while True:
                yield await _next(heard)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _faults(mine: InjectedFaults, others: Mapping[str, InjectedFaults | K8sNetLabError]) -> InjectedFaults:
    told = [one for one in others.values() if isinstance(one, InjectedFaults)]
    silent = [_of(node, one.message) for node, one in others.items() if isinstance(one, K8sNetLabError)]
    faults = [*mine.faults, *(fault for one in told for fault in one.faults)]
    notes = [*mine.notes, *(note for one in told for note in one.notes), *silent]
    return InjectedFaults(tuple(sorted(faults, key=lambda one: one.since)), tuple(notes))


def _of(node: str, problem: str) -> str:
    return problem if node in problem else f"{node}: {problem}"


def _unseen(state: NodeStatus, answer: LabStatus | K8sNetLabError | None) -> NodeStatus:
    """A node of which only the store tells."""
    message = "it has just joined"
    if isinstance(answer, K8sNetLabError):
        message = answer.message.removeprefix(f"{state.name}: ")
    return replace(state, agent=replace(state.agent, error=message))


def _untried(snapshot: Snapshot, node: str, question: ProbeQuestion, error: K8sNetLabError) -> list[ProbeResult]:
    from k8snetlab.explain.probe import untried  # 7 ms, for which no lab that comes shall wait

    targets = all_targets(snapshot, question.asked)
    places = [place for place in all_places(snapshot) if place.node == node]
    return [untried(place, target, error.message) for place in places for target in targets]


async def _pour(
    events: AsyncIterator[MissEvent], heard: asyncio.Queue[MissEvent | K8sNetLabError], needed: bool = False
) -> None:
    try:
        async for event in events:
            heard.put_nowait(event)
    except K8sNetLabError as error:
        heard.put_nowait(error if needed else Warning(error.message))


async def _next(heard: asyncio.Queue[MissEvent | K8sNetLabError]) -> MissEvent:
    event = await heard.get()
    if isinstance(event, K8sNetLabError):
        raise event
    return event
