"""ReplicaSets and ReplicationControllers make pods, adopt those that fit them and belong to nobody, and let go of
those that no longer fit.

Source: Kubernetes pkg/controller/replicaset (manageReplicas), controller_ref_manager.go (ClaimPods),
controller_utils.ActivePodsWithRanks.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Generator, Iterator
from functools import partial
from typing import Any, NamedTuple

from msgspec.structs import replace

from k8snetlab.api.apps import ReplicaSet, ReplicaSetStatus
from k8snetlab.api.core import Condition, Pod
from k8snetlab.api.meta import Labels, ObjectMeta
from k8snetlab.api.selection import by_owner, pods_by_label, templates_by_label, unowned
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.api.workloads import ReplicationController, ReplicationControllerStatus
from k8snetlab.controllers.availability import available
from k8snetlab.controllers.changes import (
    NOTHING,
    Answer,
    Context,
    active,
    due,
    each,
    owners_changed,
    put,
    record,
    remove,
    with_condition,
    without_condition,
)
from k8snetlab.controllers.correlation import Note
from k8snetlab.controllers.identity import controller_of, names, owned_by
from k8snetlab.controllers.rejection import rejected
from k8snetlab.controllers.replica_memory import ReplicaMemory, Standing

Set = ReplicaSet | ReplicationController
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
COMPONENT = "replicaset-controller"
FAILURE = "ReplicaFailure"
BURST = 500
"""Pods that one ReplicaSet makes or gives up at most before others have their turn (burstReplicas)."""


def reconcile(now: Snapshot, before: Snapshot | None, context: Context = NOTHING) -> Iterator[Answer]:
    yield from _reconciled(ReplicaSet, now, before, context)
    yield from _reconciled(ReplicationController, now, before, context)


def _reconciled(type_: type[Set], now: Snapshot, before: Snapshot | None, context: Context) -> Iterator[Answer]:
    if not now.all(type_):
        return
    taken: set[Key] = set()

    def work(rs: Set) -> Iterator[Answer]:
        orphans = [pod for pod in _orphans(rs, now) if pod.key not in taken]
        taken.update(pod.key for pod in orphans)
        return _replicas(rs, orphans, now, context)

    keys = dict.fromkeys((*owners_changed(type_, Pod, now, before), *_fitting(type_, now, before)))
    for key in keys:
        if context.replicas is not None and key not in now.all(type_):
            context.replicas.forget((type_.KIND, *key))
    yield from each(
        [rs for key in keys if (rs := now.all(type_).get(key)) and not rs.metadata.deletionTimestamp],
        work,
        lambda rs: rs,
    )


def selects(rs: Set, labels: Labels) -> bool:
    """Whether pods with these labels are such as it makes."""
    if isinstance(rs, ReplicaSet):
        return rs.spec.selector.matches(labels)
    return bool(rs.spec.selector) and all(labels.get(key) == value for key, value in rs.spec.selector.items())


def component(rs: Set) -> str:
    """Who tells what becomes of its pods."""
    return COMPONENT if isinstance(rs, ReplicaSet) else "replication-controller"


def _fitting(type_: type[Set], now: Snapshot, before: Snapshot | None) -> Iterator[Key]:
    """The sets that may want a changed pod which belongs to nobody."""
    for key in now.changes(Pod, before):
        pod = now.all(Pod).get(key)
        if pod is not None and not controller_of(pod):
            for pair in pods_by_label(pod):
                for rs in now.select(type_, templates_by_label, pair).values():
                    if selects(rs, pod.metadata.labels):
                        yield rs.key


def _orphans(rs: Set, now: Snapshot) -> list[Pod]:
    """Pods that belong to nobody and fit the selector."""
    candidates = now.select(Pod, unowned, rs.namespace).values()
    return [pod for pod in candidates if active(pod) and selects(rs, pod.metadata.labels)]


class _Numbers(NamedTuple):
    """Of a set's pods; `next` is when (seconds since 1970) another may become available."""

    pods: int
    labelled: int
    ready: int
    available: int
    next: float | None = None


def _replicas(rs: Set, orphans: list[Pod], now: Snapshot, context: Context) -> Iterator[Answer]:
    """Makes and removes pods until there are as many as wanted; none while one was refused a moment ago."""
    failure = context.failures.get((rs.KIND, *rs.key), "")
    numbers = _as_they_are(rs, now, context) if not orphans else None
    if numbers is None:
        pods = yield from _adopted(rs, orphans, now)
        if len(pods) > rs.spec.replicas:
            pods = yield from _fewer(rs, pods, len(pods) - rs.spec.replicas, now)
        lasting = available(pods, rs.spec.minReadySeconds, context.time)
        ready = sum(pod.ready for pod in pods)
        numbers = _Numbers(len(pods), _labelled(rs, pods), ready, len(lasting.names), lasting.next)
    missing = rs.spec.replicas - numbers.pods
    conditions = without_condition(rs.status.conditions, FAILURE)
    made = 0
    if failure and missing > 0:
        refused = Condition(type=FAILURE, status="True", reason="FailedCreate", message=failure)
        conditions = with_condition(rs.status.conditions, refused)
    elif missing > 0:
        stored = now.all(Pod)
        free = (name for name in names(rs.name) if (rs.namespace, name) not in stored)
        for name in itertools.islice(free, min(missing, BURST)):
            pod = _new_pod(rs, name)
            made += 1
            yield put(pod)
            yield record(pod, Note(rs, "Normal", "SuccessfulCreate", f"Created pod: {name}", component(rs)))
    yield from due(rs, numbers.next)
    kind = ReplicaSetStatus if isinstance(rs, ReplicaSet) else ReplicationControllerStatus
    status = kind(
        replicas=numbers.pods + made,
        fullyLabeledReplicas=numbers.labelled + made,
        readyReplicas=numbers.ready,
        availableReplicas=numbers.available,
        observedGeneration=rs.metadata.generation,
        conditions=conditions,
    )
    if status != rs.status:
        changed: Any = rs
        yield put(replace(changed, status=status))


def _as_they_are(rs: Set, now: Snapshot, context: Context) -> _Numbers | None:
    """The numbers of its pods where none is to go or to be let go of, and no moment counts; None: they are to be looked
    at one by one."""
    memory, labels = context.replicas or ReplicaMemory(), rs.spec.template.metadata.labels
    own = now.select(Pod, by_owner, (rs.KIND, *rs.key))
    tally = memory.tally((rs.KIND, *rs.key), (rs.spec.selector, labels), own, partial(_standing, rs))
    pods, labelled, ready = (
        sum(number for standing, number in tally.items() if standing.counts and of(standing))
        for of in (lambda _: True, lambda standing: standing.labelled, lambda standing: standing.ready)
    )
    if pods > rs.spec.replicas or rs.spec.minReadySeconds or any(standing.strays for standing in tally):
        return None
    return _Numbers(pods, labelled, ready, ready)


def _standing(rs: Set, pod: Pod) -> Standing:
    labels = pod.metadata.labels
    return Standing(active(pod), _kept(pod), selects(rs, labels), pod.ready, bool(_labelled(rs, [pod])))


def _labelled(rs: Set, pods: list[Pod]) -> int:
    """How many have all labels of the template."""
    wanted = rs.spec.template.metadata.labels.items()
    return sum(wanted <= pod.metadata.labels.items() for pod in pods)


def _adopted(rs: Set, orphans: list[Pod], now: Snapshot) -> Generator[Answer, None, list[Pod]]:
    """Lets go of pods that no longer fit the selector, takes the orphans; returns the pods that are then its own."""
    pods: list[Pod] = []
    for pod in now.select(Pod, by_owner, (rs.KIND, *rs.key)).values():
        # A pod that its node has rejected keeps its place: a real ReplicaSet makes another at once, which the node
        # rejects too, and so on without end.
        if (active(pod) or _kept(pod)) and selects(rs, pod.metadata.labels):
            pods.append(pod)
        elif active(pod):
            others = tuple(one for one in pod.metadata.ownerReferences if one != controller_of(pod))
            yield put(replace(pod, metadata=replace(pod.metadata, ownerReferences=others)))
    for pod in orphans:
        owners = (*pod.metadata.ownerReferences, owned_by(rs))
        pods.append(replace(pod, metadata=replace(pod.metadata, ownerReferences=owners)))
        yield put(pods[-1])
    return pods


def _fewer(rs: Set, pods: list[Pod], surplus: int, now: Snapshot) -> Generator[Answer, None, list[Pod]]:
    """Removes `surplus` pods, or a burst of them where that is less, and returns the others."""
    leaving = _first_to_go(rs, pods)[: min(surplus, BURST)]
    for pod in leaving:
        yield from remove(pod, now)
        yield record(pod, Note(rs, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.name}", component(rs)))
    gone = {pod.name for pod in leaving}
    return [pod for pod in pods if pod.name not in gone]


def _kept(pod: Pod) -> bool:
    return rejected(pod) and not pod.metadata.deletionTimestamp


def _new_pod(rs: Set, name: str) -> Pod:
    template = rs.spec.template
    return Pod(
        metadata=ObjectMeta(
            name=name,
            generateName=f"{rs.name}-",
            namespace=rs.namespace,
            labels=template.metadata.labels,
            annotations=template.metadata.annotations,
            ownerReferences=(owned_by(rs),),
        ),
        spec=template.spec,
    )


def _first_to_go(rs: Set, pods: list[Pod]) -> list[Pod]:
    """Pods in the order in which a ReplicaSet gives them up: those not on a node, not running or not ready first, then
    the cheapest, those with most siblings on their node, and the youngest."""
    siblings = Counter(pod.spec.nodeName for pod in pods)
    birth = {name: number for number, name in enumerate(itertools.islice(names(rs.name), len(pods) + 100))}
    phases = {"Pending": 0, "Unknown": 1, "Running": 2}

    def rank(pod: Pod) -> tuple[bool, int, bool, int, int]:
        cost = pod.metadata.annotations.get(DELETION_COST, "0")
        return (
            bool(pod.spec.nodeName) and not pod.ended,
            phases.get(pod.status.phase, 0),
            pod.ready,
            int(cost) if cost.lstrip("-").isdecimal() and len(cost) < 12 else 0,
            -siblings[pod.spec.nodeName],
        )

    youngest = sorted(
        pods, key=lambda p: (p.metadata.creationTimestamp or "9999", birth.get(p.name, 0), p.name), reverse=True
    )
    return sorted(youngest, key=rank)
