"""The network tried, followed and explained: probe, dig, misses, trace, diagnose, and the parts other machines ask for.

What explains is imported by the first who asks for it: a daemon starts without it, 25 ms earlier.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, TypeVar

import msgspec

from k8snetlab.api.core import Node
from k8snetlab.api.lab import Lab
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.dataplane.families import FAMILIES
from k8snetlab.dataplane.view import View
from k8snetlab.diagnose.components import Plane
from k8snetlab.diagnose.finding import Finding
from k8snetlab.errors import NotFoundError
from k8snetlab.explain.places import all_places, within
from k8snetlab.kernel import syscalls
from k8snetlab.lab.table import answers
from k8snetlab.lab.where import place_of, remote_nodes
from k8snetlab.messages.diagnose import (
    DIAGNOSE,
    FINDINGS,
    Diagnosis,
    DiagnosisDone,
    DiagnosisEvent,
    DiagnosisProgress,
    DiagnosisQuestion,
)
from k8snetlab.messages.dig import DIG, Dig, DigQuestion
from k8snetlab.messages.ingress import HTTP_TRACE, HttpQuestion, HttpTrace
from k8snetlab.messages.nodes import MISSES, AnsweredMiss, Listening, MissesQuestion, MissEvent
from k8snetlab.messages.probe import PROBE, ProbeQuestion, ProbeResults
from k8snetlab.messages.trace import SURVEY, TRACE, SurveyQuestion, Trace, TraceQuestion
from k8snetlab.messages.verb import Nothing
from k8snetlab.messages.watch import WATCH, WatchEvent, Watching, WatchQuestion
from k8snetlab.peers.remote import RemoteKernels
from k8snetlab.peers.requests import Remote
from k8snetlab.render.ingress import collect
from k8snetlab.render.ingress.model import Refused
from k8snetlab.running.agents import Agents, is_paused
from k8snetlab.running.overflows import Overflows
from k8snetlab.state import drills
from k8snetlab.state.drills import off
from k8snetlab.state.paths import LabPaths
from k8snetlab.supervision import Supervisor

if TYPE_CHECKING:
    from k8snetlab.explain.desired import Desired
    from k8snetlab.explain.settling import Rest
    from k8snetlab.explain.walks import Walks

T = TypeVar("T")
PACE = 0.1
"""Seconds between two words of progress."""


class Explaining:
    """Looks at what the kernel does with packets, from this machine, in threads where it takes long."""

    def __init__(
        self,
        cluster: Cluster,
        agents: Agents,
        paths: LabPaths,
        *,
        remote: Remote | None,
        supervisor: Supervisor,
        troubles: Callable[[], dict[str, str]],
        overflows: Overflows,
    ) -> None:
        """`troubles` are what leases and the kubelet fail at, by name."""
        self._supervisor, self._troubles, self._overflows = supervisor, troubles, overflows
        self._cluster, self._agents, self._paths, self._remote = cluster, agents, paths, remote
        self._walks: Walks | None = None
        self.refused: Callable[[], Refused] = Refused
        self.ahead: Callable[[], float] = float
        """What this machine's nginx does not take of Ingresses; the daemon says where that is known."""
        self.plane: Callable[[], Plane | None] = lambda: None
        """The control plane of the lab's own, for another thread than the loop's; the daemon says where it has one."""

    @answers(PROBE)
    async def probe(self, question: ProbeQuestion) -> ProbeResults:
        from k8snetlab.explain import matrix, probe
        from k8snetlab.explain.targets import all_targets, find_targets

        snapshot, every = self._cluster.snapshot, 0
        if question.source:
            place = place_of(snapshot, question.source, question.namespace, self._agents.power.off)
            to = within(snapshot, question.target, question.namespace)
            pairs = [(place, t) for t in find_targets(snapshot, to, question.port, question.asked[0])]
        else:
            targets, others = all_targets(snapshot, question.asked), self._unasked(snapshot)
            places = [place for place in all_places(snapshot) if place.node not in others]
            pairs, every = matrix.everyone(places, targets), len(places) * len(targets)
        return ProbeResults(tuple(await probe.probe(snapshot, pairs)), every or len(pairs))

    @answers(DIG)
    async def dig(self, question: DigQuestion) -> Dig:
        from k8snetlab.explain import lookup

        snapshot = self._cluster.snapshot
        place = place_of(snapshot, question.source, question.namespace, self._agents.power.off)
        return await asyncio.to_thread(lookup.dig, snapshot, place, question.name, question.type, question.library)

    @answers(MISSES)
    async def misses(self, question: MissesQuestion) -> AsyncIterator[MissEvent]:
        """What the kernel asks and is told from now on, on one node or ("") on all; first says that it listens."""
        node = question.node
        nodes, network = [name for _, name in self._cluster.snapshot.all(Node)], self._cluster.snapshot.lab.spec.network
        if node:
            self._cluster.snapshot.node(node)
        if network.backend != "vxlan" or network.resolve != "on-miss":
            raise NotFoundError(
                f"the kernel asks nothing in lab {self._paths.lab}: every entry is there already",
                "set `network: {backend: vxlan, resolve: on-miss}` in the lab file, and `k8snetlab up` again",
            )
        loop, answers = asyncio.get_running_loop(), asyncio.Queue[AnsweredMiss]()
        with self._agents.misses.listening(lambda answer: _hand_over(loop, answers, answer)):
            others = remote_nodes(self._cluster.snapshot, self._agents)
            yield Listening((node,) if node else tuple(name for name in nodes if name not in others))
            while True:
                answer = await answers.get()
                if node in ("", answer.node):
                    yield answer

    @answers(TRACE)
    async def trace(self, question: TraceQuestion) -> Trace:
        place_of(self._cluster.snapshot, question.source, question.namespace, self._agents.power.off)
        return await asyncio.to_thread(self._traced, question, self._beyond())

    @answers(HTTP_TRACE)
    async def http_trace(self, asked: HttpQuestion) -> HttpTrace:
        """A request's way through the Ingress controller."""
        snapshot = self._cluster.snapshot
        place_of(snapshot, asked.source, asked.namespace, self._agents.power.off)
        return await asyncio.to_thread(self._requested, asked, self._beyond())

    def _requested(self, asked: HttpQuestion, beyond: RemoteKernels | None) -> HttpTrace:
        from k8snetlab.explain import requested

        snapshot = self._cluster.snapshot
        site = collect.site(snapshot, snapshot.lab.spec.ingress.defaultCertificate, self.refused())
        return requested.trace(snapshot, self._paths, site, asked, beyond)

    def _unasked(self, snapshot: Snapshot) -> set[str]:
        """Nodes from which nothing is asked here."""
        return {*remote_nodes(snapshot, self._agents), *self._agents.power.off}

    def _traced(self, question: TraceQuestion, beyond: RemoteKernels | None) -> Trace:
        from k8snetlab.explain import tracing

        return tracing.trace(self._cluster.snapshot, self._paths, question, beyond)

    @answers(SURVEY)
    async def survey(self, question: SurveyQuestion) -> View:
        from k8snetlab.explain.namespaces import Namespaces

        here = self._remote.node if self._remote else ""
        kernel = Namespaces(self._cluster.snapshot, self._paths, question.family, here)
        namespace = question.namespace
        if namespace not in kernel.places or kernel.node_of(namespace):
            raise NotFoundError(f"{namespace} is no namespace of this machine")
        return await asyncio.to_thread(kernel.__getitem__, namespace)

    @answers(WATCH)
    async def watch(self, question: WatchQuestion, until: AsyncIterator[bytes]) -> AsyncIterator[WatchEvent]:
        """`Watching`, and when `until` ends `WatchSeen`."""
        from k8snetlab.explain.namespaces import Namespaces
        from k8snetlab.kernel.packets import Watch

        here = self._remote.node if self._remote else ""
        kernel = Namespaces(self._cluster.snapshot, self._paths, "ipv4", here)
        with await asyncio.to_thread(Watch, kernel.present(question.namespace), set(question.port)) as watch:
            yield Watching()
            async for _ in until:
                pass
            seen = kernel.seen(watch)
        yield seen

    @answers(DIAGNOSE)
    async def diagnose(self, question: DiagnosisQuestion) -> AsyncIterator[DiagnosisEvent]:
        """Progress, and at last the answer of `diagnosing.diagnose`."""
        drill = drills.running(self._paths)
        if drill is not None and not drill.diagnose:
            raise off()
        loop, events = asyncio.get_running_loop(), asyncio.Queue[DiagnosisProgress | None]()
        due = 0.0

        def tell(phase: str, done: int, total: int) -> None:
            nonlocal due
            if time.monotonic() < due:
                return
            due = time.monotonic() + PACE
            _hand_over(loop, events, DiagnosisProgress(phase, done, total))

        work = asyncio.ensure_future(asyncio.to_thread(self._diagnosed, question, tell, self._beyond()))
        work.add_done_callback(lambda _: events.put_nowait(None))
        while event := await events.get():
            yield event
        yield DiagnosisDone(**msgspec.structs.asdict(work.result()))

    async def looked(self) -> Diagnosis:
        """What a diagnosis finds, whoever may ask for one."""
        return await asyncio.to_thread(self._diagnosed, DiagnosisQuestion(), lambda *_: None, self._beyond())

    def _diagnosed(
        self, question: DiagnosisQuestion, tell: Callable[[str, int, int], None], beyond: RemoteKernels | None
    ) -> Diagnosis:
        from k8snetlab.explain import diagnosing
        from k8snetlab.explain.walks import Walks

        walks = self._walks = self._walks or Walks()
        try:
            return diagnosing.diagnose(
                self._desired, self._paths, question, tell, beyond, resting=self._resting, walks=walks
            )
        finally:
            syscalls.give_back()  # 3 MB of 9 that it takes in a small lab

    def _resting(self) -> dict[str, Rest]:
        from k8snetlab.explain.settling import Rest

        return {task.name: Rest(task.looked, task.state.operations) for task in list(self._agents.tasks)}

    @answers(FINDINGS)
    async def findings(self, _: Nothing) -> list[Finding]:
        return await asyncio.to_thread(self._found_here)

    def _found_here(self) -> list[Finding]:
        from k8snetlab.explain import diagnosing

        return diagnosing.findings_here(self._desired(), self._paths)

    def _beyond(self) -> RemoteKernels | None:
        """The other machines, for a thread."""
        return RemoteKernels(self._remote, asyncio.get_running_loop()) if self._remote else None

    def _desired(self) -> Desired:
        """May be called from any thread: what it reads is replaced as a whole, never changed."""
        from k8snetlab.explain.desired import AgentNow, Desired, gone, state_of, where

        health, lost = self._cluster.informer.health(), gone(self._paths)
        snapshot = self._cluster.snapshot
        network = snapshot.lab.spec.network if snapshot.all(Lab) else None
        on_miss = network is not None and (network.backend, network.resolve) == ("vxlan", "on-miss")
        agents = {}
        for task in list(self._agents.tasks):
            state = task.state
            warnings = tuple(warning for manager in state.managers for warning in manager.warnings)
            asked = on_miss and task is not self._agents.router and not state.paused
            agents[task.name] = AgentNow(
                state.paused,
                state.error,
                state.hint,
                state.operation,
                warnings=warnings,
                behind=task.behind,
                deaf=asked and not self._agents.misses.attends(task.name),
            )
        agents |= {name: AgentNow(is_paused(snapshot.node(name))) for name in remote_nodes(snapshot, self._agents)}
        kubelet, _ = state_of(self._paths, "kubelet")
        return Desired(
            snapshot,
            agents,
            "runs",
            kubelet,
            os.getpid(),
            where(self._paths),
            lost if health.healthy else health.problem,
            dict(self._cluster.informer.problems),
            {failure.name: str(failure) for failure in self._supervisor.failures} | self._troubles(),
            self._cluster.failing,
            {name: state for task in list(self._agents.tasks) for name, state in task.agent.untouched().items()},
            {family: ago for family in FAMILIES if (ago := self._overflows.ago(family)) is not None},
            self._cluster.behind,
            self.refused(),
            self.plane(),
            self.ahead(),
            time.monotonic() - self._cluster.informer.moved,
        )


def _hand_over(loop: asyncio.AbstractEventLoop, answers: asyncio.Queue[T], answer: T) -> None:
    """From another thread to the loop's, which may be ending."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(answers.put_nowait, answer)
