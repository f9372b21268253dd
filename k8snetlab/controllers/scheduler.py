"""The scheduler: filter the nodes a pod may run on, rank them, bind the pod to the best, or make room for it.

Source: Kubernetes pkg/scheduler (FitError's words, the queue of unschedulable pods and what moves pods out of it,
PrioritySort, preemption.go: prepareCandidate).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from k8snetlab.api.core import Condition, Node, Pod
from k8snetlab.api.selection import by_owner, pods_by_node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.changes import Answer, active, each, put, record, remove, with_condition
from k8snetlab.controllers.company import Company, has_company, repelling
from k8snetlab.controllers.correlation import Note
from k8snetlab.controllers.demands import demands
from k8snetlab.controllers.filters import NO_NODES, Verdict, summed, verdict
from k8snetlab.controllers.fitting import Room, host_ports
from k8snetlab.controllers.identity import controller_of
from k8snetlab.controllers.preemption import TERMINATING, Preemption, preemption, priority
from k8snetlab.controllers.scores import Score, discourages, preferences, prefers

SCHEDULED = "PodScheduled"
COMPONENT = "default-scheduler"
_NO_CLAIMS = "no new claims to deallocate"


class Choice(msgspec.Struct, frozen=True):
    """How the scheduler sees one pod: what the filters say of each node, the scores of those that are left, by name,
    and the best of them, "" where there is none; then `preemption` says what would help."""

    verdicts: dict[str, Verdict]
    scores: dict[str, Score]
    best: str
    pods: dict[str, int]
    """How many pods each node has."""
    message: str = ""
    """Why it waits, in the words of its condition."""
    preemption: Preemption = Preemption()


def unscheduled(pod: Pod) -> Iterable[bool]:
    return (True,) if not pod.spec.nodeName and active(pod) and pod.spec.schedulerName == COMPONENT else ()


def reconcile(now: Snapshot, before: Snapshot | None) -> Iterator[Answer]:
    """Binds every pod without a node, the most important first; what another scheduler is to bind waits for that."""
    waiting = _waiting(now, before)
    if waiting:
        waiting.sort(key=lambda pod: -priority(pod))
        yield from each(waiting, _Pass(now).answer, lambda pod: pod)


def choice(pod: Pod, now: Snapshot) -> Choice:
    """What the scheduler thinks of a pod, as if it were on no node yet."""
    there = [one for one in now.all(Pod).values() if one.key != pod.key]
    return _Pass(now, [Room(node, _of(there, node)) for node in now.all(Node).values()]).choice(pod)


def _of(pods: Sequence[Pod], node: Node) -> list[Pod]:
    return [pod for pod in pods if pod.spec.nodeName == node.name]


def _waiting(now: Snapshot, before: Snapshot | None) -> list[Pod]:
    """The pods to look at: those that are new or changed, and all that wait when there may be more room than before."""
    waiting = list(now.select(Pod, unscheduled, True).values())
    changed = now.changes(Pod, before) if waiting else ()
    if before is None or not waiting or now.changes(Node, before) or any(_left(key, now, before) for key in changed):
        return waiting
    if changed and any(map(has_company, waiting)):
        return waiting  # whom one of them wants near may have come
    pods = (now.all(Pod).get(key) for key in changed)
    return [pod for pod in pods if pod and unscheduled(pod)]


def _left(key: tuple[str, str], now: Snapshot, before: Snapshot) -> bool:
    """Whether a pod left room on a node."""
    old, new = before.all(Pod).get(key), now.all(Pod).get(key)
    if old is None or not old.spec.nodeName or old.ended:
        return False
    return new is None or new.ended or new.metadata.uid != old.metadata.uid


class _Pass:
    """One pass over the pods that wait, with what is taken of every node so far."""

    def __init__(self, now: Snapshot, rooms: list[Room] | None = None) -> None:
        self._now = now
        nodes = now.all(Node).values()
        self._rooms = rooms or [Room(node, now.select(Pod, pods_by_node, node.name).values()) for node in nodes]
        self._promised = {
            pod.key: pod for pod in now.select(Pod, unscheduled, True).values() if pod.status.nominatedNodeName
        }
        """The pods for which room has been made on a node: it is kept for them from less important ones."""
        self._families: dict[tuple[str, str, str], Counter[str]] = {}
        self._unfit: dict[Hashable, str] = {}
        """Why pods of a shape fit nowhere, as long as nothing was bound since."""
        self._discouraging = discourages(self._rooms)
        self._repelling = bool(now.select(Pod, repelling, True))

    def choice(self, pod: Pod) -> Choice:
        verdicts = self._verdicts(pod)
        named = {room.node.name: one for room, one in zip(self._rooms, verdicts, strict=True)}
        count = {room.node.name: room.count for room in self._rooms}
        fit = self._fit(verdicts)
        if not fit:
            message, help_ = self._unfitting(pod, verdicts)
            return Choice(named, {}, "", count, message, help_)
        siblings = self._siblings(pod)
        liked = preferences(pod, fit, self._rooms, self._now)
        scores = {
            room.node.name: Score(parts, siblings[room.node.name], room.count)
            for room, parts in zip(fit, liked, strict=True)
        }
        return Choice(named, scores, min(scores, key=lambda name: scores[name].rank), count)

    def _verdicts(self, pod: Pod) -> list[Verdict]:
        """As kube-scheduler with nominated pods: it must fit with those that are to come, and without them."""
        kept = self._kept_from(pod)
        found = self._judged(pod, kept)
        if kept is self._rooms:
            return found
        return [one if one.by else two for one, two in zip(found, self._judged(pod, self._rooms), strict=True)]

    def _judged(self, pod: Pod, rooms: list[Room]) -> list[Verdict]:
        company, asked = self._company(pod, rooms), demands(pod.spec)
        return [verdict(pod, room, company, asked) for room in rooms]

    def _kept_from(self, pod: Pod) -> list[Room]:
        """The rooms with the pods that are to come there and are no less important."""
        coming: dict[str, list[Pod]] = {}
        for one in self._promised.values():
            if one.key != pod.key and priority(one) >= priority(pod):
                coming.setdefault(one.status.nominatedNodeName, []).append(one)
        if not coming:
            return self._rooms
        return [room.beside(coming[name]) if (name := room.node.name) in coming else room for room in self._rooms]

    def _fit(self, verdicts: list[Verdict]) -> list[Room]:
        return [room for room, one in zip(self._rooms, verdicts, strict=True) if one.fits]

    def _unfitting(self, pod: Pod, verdicts: list[Verdict]) -> tuple[str, Preemption]:
        """Why the pod waits, and what would help."""
        help_ = preemption(pod, self._kept_from(pod), verdicts, self._company)
        message = summed([one.reasons for one in verdicts])
        if message != NO_NODES and help_.why:
            message += f" {_NO_CLAIMS}, preemption: {help_.why}"
        return message, help_

    def _best(self, pod: Pod, fit: list[Room]) -> str:
        """As `choice` has it; where nothing is preferred, which is nearly always, without a score for each node."""
        siblings = self._siblings(pod)
        if not self._discouraging and not prefers(pod):
            return min(fit, key=lambda room: (siblings[room.node.name], room.count)).node.name
        return self.choice(pod).best

    def answer(self, pod: Pod) -> Iterator[Answer]:
        shape = _shape(pod, self._repelling)
        why, victims = self._unfit.get(shape), Preemption()
        if why is None:
            verdicts = self._verdicts(pod)
            if fit := self._fit(verdicts):
                yield from self._bind(pod, self._best(pod, fit))
                return
            why, victims = self._unfitting(pod, verdicts)
            if victims.why == TERMINATING:
                return  # what is making room for it goes: it is looked at again when that has gone
            if not victims.node:
                self._unfit[shape] = why
        condition = Condition(type=SCHEDULED, status="False", reason="Unschedulable", message=why)
        conditions = with_condition(pod.status.conditions, condition)
        status = replace(pod.status, conditions=conditions, message=why, nominatedNodeName=victims.node)
        self._promised.pop(pod.key, None)
        if victims.node:
            self._promised[pod.key] = replace(pod, status=status)
        if status != pod.status:
            yield put(replace(pod, status=status))
            yield record(pod, Note(pod, "Warning", "FailedScheduling", why, COMPONENT))
        for victim in victims.victims:
            yield from self._preempted(victim, pod, victims.node)

    def _preempted(self, victim: Pod, pod: Pod, node: str) -> Iterator[Answer]:
        if victim.metadata.deletionTimestamp:
            return
        yield from remove(victim, self._now)
        said = f"Preempted by pod {pod.metadata.uid} on node {node}"
        yield record(victim, Note(victim, "Normal", "Preempted", said, COMPONENT))

    def _bind(self, pod: Pod, name: str) -> Iterator[Answer]:
        room = next(one for one in self._rooms if one.node.name == name)
        self._siblings(pod)[name] += 1
        room.add(replace(pod, spec=replace(pod.spec, nodeName=name)))
        self._promised.pop(pod.key, None)
        self._unfit.clear()
        conditions = with_condition(pod.status.conditions, Condition(type=SCHEDULED, status="True"))
        status = replace(pod.status, conditions=conditions, message="", nominatedNodeName="")
        yield put(replace(pod, spec=replace(pod.spec, nodeName=name), status=status))
        message = f"Successfully assigned {pod.namespace}/{pod.name} to {name}"
        yield record(pod, Note(pod, "Normal", "Scheduled", message, COMPONENT))

    def _company(self, pod: Pod, rooms: Sequence[Room]) -> Company | None:
        return Company(pod, rooms, self._now) if self._repelling or has_company(pod) else None

    def _siblings(self, pod: Pod) -> Counter[str]:
        """How many pods of the same owner each node has."""
        owner = controller_of(pod)
        if owner is None:
            return Counter()
        group = (owner.kind, pod.namespace, owner.name)
        if group not in self._families:
            owned = self._now.select(Pod, by_owner, group).values()
            self._families[group] = Counter(p.spec.nodeName for p in owned if active(p) and p.key != pod.key)
        return self._families[group]


def _shape(pod: Pod, everywhere: bool) -> Hashable:
    """What two pods have alike that fit on the same nodes; where pods repel others, their labels too."""
    spec = pod.spec
    labelled = (pod.namespace, tuple(sorted(pod.metadata.labels.items()))) if everywhere or has_company(pod) else ()
    asked = tuple(sorted(demands(spec).items()))
    return (
        tuple(sorted(spec.nodeSelector.items())),
        str(spec.affinity),
        spec.tolerations,
        host_ports(pod),
        asked,
        (priority(pod), spec.preemptionPolicy, pod.status.nominatedNodeName),
        (str(spec.topologySpreadConstraints), labelled),
    )
