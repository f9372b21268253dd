"""The scheduler: filter the nodes a pod may run on, rank them, bind the pod to the best.

Source: Kubernetes pkg/scheduler (FitError's words, the queue of unschedulable pods and what moves pods out of it).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator

from msgspec.structs import replace

from k8snetlab.api.core import Condition, Node, Pod
from k8snetlab.api.selection import by_owner, pods_by_node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.changes import Answer, active, each, put, record, with_condition
from k8snetlab.controllers.correlation import Note
from k8snetlab.controllers.fitting import Room, host_ports
from k8snetlab.controllers.identity import controller_of

SCHEDULED = "PodScheduled"
COMPONENT = "default-scheduler"
NO_NODES = "no nodes available to schedule pods"


def unscheduled(pod: Pod) -> Iterable[bool]:
    return (True,) if not pod.spec.nodeName and active(pod) else ()


def reconcile(now: Snapshot, before: Snapshot | None) -> Iterator[Answer]:
    """Binds every pod without a node: spread over the nodes by owner, then by number of pods, then in node order."""
    waiting = _waiting(now, before)
    if waiting:
        yield from each(waiting, _Pass(now).answer, lambda pod: pod)


def _waiting(now: Snapshot, before: Snapshot | None) -> list[Pod]:
    """The pods to look at: those that are new or changed, and all that wait when there may be more room than before."""
    changed = now.changes(Pod, before)
    if before is None or now.changes(Node, before) or any(_left(key, now, before) for key in changed):
        return list(now.select(Pod, unscheduled, True).values())
    pods = (now.all(Pod).get(key) for key in changed)
    return [pod for pod in pods if pod and not pod.spec.nodeName and active(pod)]


def _left(key: tuple[str, str], now: Snapshot, before: Snapshot) -> bool:
    """Whether a pod left room on a node."""
    old, new = before.all(Pod).get(key), now.all(Pod).get(key)
    if old is None or not old.spec.nodeName or old.ended:
        return False
    return new is None or new.ended or new.metadata.uid != old.metadata.uid


class _Pass:
    """One pass over the pods that wait, with what is taken of every node so far."""

    def __init__(self, now: Snapshot) -> None:
        self._now = now
        self._nodes = list(now.all(Node).values())
        self._rooms = [Room(node, now.select(Pod, pods_by_node, node.name).values()) for node in self._nodes]
        self._families: dict[tuple[str, str, str], Counter[str]] = {}
        self._unfit: dict[Hashable, str] = {}
        """Why pods of a shape fit nowhere, as long as nothing was bound since."""

    def answer(self, pod: Pod) -> Iterator[Answer]:
        shape = (tuple(sorted(pod.spec.nodeSelector.items())), pod.spec.affinity, pod.spec.tolerations, host_ports(pod))
        why = self._unfit.get(shape)
        if why is None:
            misfits = [room.misfit(pod) for room in self._rooms]
            fit = [number for number, misfit in enumerate(misfits) if not misfit]
            if fit:
                yield from self._bind(pod, fit)
                return
            why = self._unfit[shape] = _message(misfits)
        condition = Condition(type=SCHEDULED, status="False", reason="Unschedulable", message=why)
        conditions = with_condition(pod.status.conditions, condition)
        if conditions != pod.status.conditions or pod.status.message != why:
            yield put(replace(pod, status=replace(pod.status, conditions=conditions, message=why)))
            yield record(pod, Note(pod, "Warning", "FailedScheduling", why, COMPONENT))

    def _bind(self, pod: Pod, fit: list[int]) -> Iterator[Answer]:
        siblings = self._siblings(pod)
        room = self._rooms[min(fit, key=lambda n: (siblings[self._nodes[n].name], self._rooms[n].count, n))]
        name = room.node.name
        siblings[name] += 1
        room.add(pod)
        self._unfit.clear()
        conditions = with_condition(pod.status.conditions, Condition(type=SCHEDULED, status="True"))
        status = replace(pod.status, conditions=conditions, message="")
        yield put(replace(pod, spec=replace(pod.spec, nodeName=name), status=status))
        message = f"Successfully assigned {pod.namespace}/{pod.name} to {name}"
        yield record(pod, Note(pod, "Normal", "Scheduled", message, COMPONENT))

    def _siblings(self, pod: Pod) -> Counter[str]:
        """How many pods of the same owner each node has."""
        owner = controller_of(pod)
        if owner is None:
            return Counter()
        group = (owner.kind, pod.namespace, owner.name)
        if group not in self._families:
            owned = self._now.select(Pod, by_owner, group).values()
            self._families[group] = Counter(p.spec.nodeName for p in owned if active(p))
        return self._families[group]


def _message(misfits: list[str]) -> str:
    if not misfits:
        return NO_NODES
    reasons = sorted(f"{count} {reason}" for reason, count in Counter(misfits).items())
    return f"0/{len(misfits)} nodes are available: {', '.join(reasons)}."
