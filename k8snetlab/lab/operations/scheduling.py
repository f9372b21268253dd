"""How the scheduler sees a pod: what its filters say of each node, and how it ranks those that are left."""

from __future__ import annotations

import asyncio

from k8snetlab.api.core import Pod
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.controllers.filters import FILTERS, Verdict
from k8snetlab.controllers.scheduler import Choice, choice
from k8snetlab.explain.places import find_pod, within
from k8snetlab.lab.table import answers
from k8snetlab.messages.schedule import SCHEDULE, Passed, Schedule, ScheduleNode, ScheduleQuestion


class Scheduling:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @answers(SCHEDULE)
    async def schedule(self, asked: ScheduleQuestion) -> Schedule:
        """Of a pod that is bound: what the scheduler would do now, were it not."""
        snapshot = self._cluster.snapshot
        pod = find_pod(snapshot, within(snapshot, asked.name, asked.namespace))
        return await asyncio.to_thread(_seen, pod, snapshot)


def _seen(pod: Pod, snapshot: Snapshot) -> Schedule:
    found = choice(pod, snapshot)
    ranked = sorted(found.scores, key=lambda name: found.scores[name].rank)
    return Schedule(
        pod=f"{pod.namespace}/{pod.name}",
        node=pod.spec.nodeName,
        scheduler=pod.spec.schedulerName,
        priority=pod.spec.priority or 0,
        nodes=tuple(_node(name, verdict, found, ranked) for name, verdict in found.verdicts.items()),
        best=found.best,
        message=found.message,
        preempts=tuple(f"{one.namespace}/{one.name}" for one in found.preemption.victims),
        preemptsOn=found.preemption.node,
    )


def _node(name: str, verdict: Verdict, found: Choice, ranked: list[str]) -> ScheduleNode:
    score = found.scores.get(name)
    return ScheduleNode(
        node=name,
        filters=_filters(verdict),
        reasons=verdict.reasons,
        scores=dict(score.parts) if score else {},
        preference=score.preference if score else 0,
        siblings=score.siblings if score else 0,
        pods=found.pods[name],
        rank=ranked.index(name) + 1 if score else 0,
    )


def _filters(verdict: Verdict) -> dict[str, Passed]:
    until = FILTERS.index(verdict.by) if verdict.by else len(FILTERS)
    return {
        name: "yes" if number < until else "no" if number == until else "unasked" for number, name in enumerate(FILTERS)
    }
