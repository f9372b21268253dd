"""ReplicaSets make pods, adopt those that fit them and belong to nobody, and let go of those that no longer fit.

Source: Kubernetes pkg/controller/replicaset (manageReplicas), controller_ref_manager.go (ClaimPods),
controller_utils.ActivePodsWithRanks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from msgspec.structs import replace

from k8snetlab.api.apps import ReplicaSet, ReplicaSetStatus
from k8snetlab.api.core import Pod
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.selection import by_owner, pods_by_label, templates_by_label
from k8snetlab.api.snapshot import Change, Key, Snapshot
from k8snetlab.controllers.changes import active, owners_changed, put, remove
from k8snetlab.controllers.identity import controller_of, generated, owned_by

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


def reconcile(now: Snapshot, before: Snapshot | None) -> Iterator[Change]:
    taken: set[Key] = set()
    for key in dict.fromkeys((*owners_changed(ReplicaSet, Pod, now, before), *_fitting(now, before))):
        replica_set = now.all(ReplicaSet).get(key)
        if replica_set is not None:
            orphans = [pod for pod in _orphans(replica_set, now) if pod.key not in taken]
            taken |= {pod.key for pod in orphans}
            yield from _replicas(replica_set, orphans, now)


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
    labels = rs.spec.selector.matchLabels.items()
    groups = [now.select(Pod, pods_by_label, (rs.namespace, *pair)) for pair in labels]
    candidates = min(groups, key=len) if groups else now.all(Pod)
    return [
        pod
        for pod in candidates.values()
        if pod.namespace == rs.namespace
        and active(pod)
        and not controller_of(pod)
        and rs.spec.selector.matches(pod.metadata.labels)
    ]


def _replicas(rs: ReplicaSet, orphans: list[Pod], now: Snapshot) -> Iterator[Change]:
    pods = []
    for pod in now.select(Pod, by_owner, (ReplicaSet.KIND, *rs.key)).values():
        if active(pod) and rs.spec.selector.matches(pod.metadata.labels):
            pods.append(pod)
        elif active(pod):
            others = tuple(one for one in pod.metadata.ownerReferences if one != controller_of(pod))
            yield put(replace(pod, metadata=replace(pod.metadata, ownerReferences=others)))
    for pod in orphans:
        owners = (*pod.metadata.ownerReferences, owned_by(rs))
        pods.append(replace(pod, metadata=replace(pod.metadata, ownerReferences=owners)))
        yield put(pods[-1])
    missing = rs.spec.replicas - len(pods)
    if missing < 0:
        leaving = _first_to_go(rs, pods)[:-missing]
        for pod in leaving:
            yield from remove(pod, now)
        names = {pod.name for pod in leaving}
        pods = [pod for pod in pods if pod.name not in names]
    ready = sum(pod.ready for pod in pods)
    taken: set[str] = set()
    for _ in range(missing):
        pod = _new_pod(rs, taken, now)
        taken.add(pod.name)
        yield put(pod)
    status = ReplicaSetStatus(
        replicas=len(pods) + len(taken),
        readyReplicas=ready,
        availableReplicas=ready,
        observedGeneration=rs.metadata.generation,
    )
    if status != rs.status:
        yield put(replace(rs, status=status))


class _Taken:
    """Names of pods that exist, and of those about to."""

    def __init__(self, namespace: str, taken: set[str], now: Snapshot) -> None:
        self.namespace, self.taken, self.pods = namespace, taken, now.all(Pod)

    def __contains__(self, name: object) -> bool:
        return name in self.taken or (self.namespace, name) in self.pods


def _new_pod(rs: ReplicaSet, taken: set[str], now: Snapshot) -> Pod:
    template = rs.spec.template
    return Pod(
        metadata=ObjectMeta(
            name=generated(rs.name, _Taken(rs.namespace, taken, now)),
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
    birth = {name: number for number, name in enumerate(_names(rs, len(pods) + 100))}
    phases = {"Pending": 0, "Unknown": 1, "Running": 2}

    def rank(pod: Pod) -> tuple[bool, int, bool, int, int]:
        cost = pod.metadata.annotations.get(DELETION_COST, "0")
        return (
            bool(pod.spec.nodeName),
            phases.get(pod.status.phase, 0),
            pod.ready,
            int(cost) if cost.lstrip("-").isdecimal() and len(cost) < 12 else 0,
            -siblings[pod.spec.nodeName],
        )

    youngest = sorted(
        pods, key=lambda p: (p.metadata.creationTimestamp or "9999", birth.get(p.name, 0), p.name), reverse=True
    )
    return sorted(youngest, key=rank)


def _names(rs: ReplicaSet, count: int) -> Iterator[str]:
    """The names of a ReplicaSet's pods in the order in which they are given."""
    taken: set[str] = set()
    for _ in range(count):
        name = generated(rs.name, taken)
        taken.add(name)
        yield name
