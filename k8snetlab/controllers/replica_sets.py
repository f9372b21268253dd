"""ReplicaSets make pods, adopt those that fit them and belong to nobody, and let go of those that no longer fit.

Source: Kubernetes pkg/controller/replicaset (manageReplicas), controller_ref_manager.go (ClaimPods),
controller_utils.ActivePodsWithRanks.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Generator, Iterator

from msgspec.structs import replace

from k8snetlab.api.apps import ReplicaSet, ReplicaSetStatus
from k8snetlab.api.core import Condition, Pod
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.selection import by_owner, pods_by_label, templates_by_label, unowned
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.controllers.changes import (
    NOTHING,
    Answer,
    Context,
    active,
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

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
COMPONENT = "replicaset-controller"
FAILURE = "ReplicaFailure"
BURST = 500
"""Pods that one ReplicaSet makes or gives up at most before others have their turn (burstReplicas)."""


def reconcile(now: Snapshot, before: Snapshot | None, context: Context = NOTHING) -> Iterator[Answer]:
    taken: set[Key] = set()

    def work(rs: ReplicaSet) -> Iterator[Answer]:
        orphans = [pod for pod in _orphans(rs, now) if pod.key not in taken]
        taken.update(pod.key for pod in orphans)
        return _replicas(rs, orphans, now, context.failures.get((rs.KIND, *rs.key), ""))

    keys = dict.fromkeys((*owners_changed(ReplicaSet, Pod, now, before), *_fitting(now, before)))
    yield from each(
        [rs for key in keys if (rs := now.all(ReplicaSet).get(key)) and not rs.metadata.deletionTimestamp],
        work,
        lambda rs: rs,
    )


def _fitting(now: Snapshot, before: Snapshot | None) -> Iterator[Key]:
    """The ReplicaSets that may want a changed pod which belongs to nobody."""
    for key in now.changes(Pod, before):
        pod = now.all(Pod).get(key)
        if pod is not None and not controller_of(pod):
            for pair in pods_by_label(pod):
                for rs in now.select(ReplicaSet, templates_by_label, pair).values():
                    if rs.spec.selector.matches(pod.metadata.labels):
                        yield rs.key


def _orphans(rs: ReplicaSet, now: Snapshot) -> list[Pod]:
    """Pods that belong to nobody and fit the selector."""
    candidates = now.select(Pod, unowned, rs.namespace).values()
    return [pod for pod in candidates if active(pod) and rs.spec.selector.matches(pod.metadata.labels)]


def _replicas(rs: ReplicaSet, orphans: list[Pod], now: Snapshot, failure: str) -> Iterator[Answer]:
    """Makes and removes pods until there are as many as wanted. `failure` is why a pod was refused a moment ago, or "":
    with it no other is made."""
    pods = yield from _adopted(rs, orphans, now)
    missing = rs.spec.replicas - len(pods)
    if missing < 0:
        pods = yield from _fewer(rs, pods, -missing, now)
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
            yield record(pod, Note(rs, "Normal", "SuccessfulCreate", f"Created pod: {name}", COMPONENT))
    ready = sum(pod.ready for pod in pods)
    status = ReplicaSetStatus(
        replicas=len(pods) + made,
        readyReplicas=ready,
        availableReplicas=ready,
        observedGeneration=rs.metadata.generation,
        conditions=conditions,
    )
    if status != rs.status:
        yield put(replace(rs, status=status))


def _adopted(rs: ReplicaSet, orphans: list[Pod], now: Snapshot) -> Generator[Answer, None, list[Pod]]:
    """Lets go of pods that no longer fit the selector, takes the orphans; returns the pods that are then its own."""
    pods: list[Pod] = []
    for pod in now.select(Pod, by_owner, (ReplicaSet.KIND, *rs.key)).values():
        # A pod that its node has rejected keeps its place: a real ReplicaSet makes another at once, which the node
        # rejects too, and so on without end.
        if (active(pod) or _kept(pod)) and rs.spec.selector.matches(pod.metadata.labels):
            pods.append(pod)
        elif active(pod):
            others = tuple(one for one in pod.metadata.ownerReferences if one != controller_of(pod))
            yield put(replace(pod, metadata=replace(pod.metadata, ownerReferences=others)))
    for pod in orphans:
        owners = (*pod.metadata.ownerReferences, owned_by(rs))
        pods.append(replace(pod, metadata=replace(pod.metadata, ownerReferences=owners)))
        yield put(pods[-1])
    return pods


def _fewer(rs: ReplicaSet, pods: list[Pod], surplus: int, now: Snapshot) -> Generator[Answer, None, list[Pod]]:
    """Removes `surplus` pods, or a burst of them where that is less, and returns the others."""
    leaving = _first_to_go(rs, pods)[: min(surplus, BURST)]
    for pod in leaving:
        yield from remove(pod, now)
        yield record(pod, Note(rs, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.name}", COMPONENT))
    gone = {pod.name for pod in leaving}
    return [pod for pod in pods if pod.name not in gone]


def _kept(pod: Pod) -> bool:
    return rejected(pod) and not pod.metadata.deletionTimestamp


def _new_pod(rs: ReplicaSet, name: str) -> Pod:
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


def _first_to_go(rs: ReplicaSet, pods: list[Pod]) -> list[Pod]:
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
