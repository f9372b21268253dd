"""Deployments make ReplicaSets, ReplicaSets make pods.

Source: Kubernetes pkg/controller/deployment (rolling.go, with maxSurge and maxUnavailable at their default, 25%) and
pkg/controller/replicaset (manageReplicas), controller_utils.ActivePodsWithRanks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from k8snetlab.api.apps import Deployment, ReplicaSet, WorkloadSpec, WorkloadStatus
from k8snetlab.api.core import Pod, PodStatus
from k8snetlab.api.meta import LabelSelector, Object, ObjectMeta
from k8snetlab.api.selection import by_owner
from k8snetlab.api.snapshot import Change, Key, Snapshot
from k8snetlab.controllers.changes import active, put, remove
from k8snetlab.controllers.identity import controller_of, generated, owned_by, template_hash

TEMPLATE_HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
HISTORY = 10
"""How many ReplicaSets of the past a Deployment keeps (revisionHistoryLimit)."""


def deployments(now: Snapshot, before: Snapshot | None) -> Iterator[Change]:
    for key in _keys(Deployment, ReplicaSet, now, before):
        deployment = now.all(Deployment).get(key)
        if deployment is not None:
            yield from _rollout(deployment, now)


def replica_sets(now: Snapshot, before: Snapshot | None) -> Iterator[Change]:
    for key in _keys(ReplicaSet, Pod, now, before):
        replica_set = now.all(ReplicaSet).get(key)
        if replica_set is not None:
            yield from _replicas(replica_set, now)


def _keys(type_: type[Object], owned: type[Object], now: Snapshot, before: Snapshot | None) -> Iterable[Key]:
    """Changed objects of a kind, and those whose owned objects changed."""
    keys = dict.fromkeys(now.changes(type_, before))
    for key in now.changes(owned, before):
        for obj in (now.all(owned).get(key), before.all(owned).get(key) if before else None):
            owner = controller_of(obj) if obj else None
            if obj and owner and owner.kind == type_.KIND:
                keys[obj.namespace, owner.name] = None
    return keys


# --- Deployment -----------------------------------------------------------------------------------------------------


def _rollout(deployment: Deployment, now: Snapshot) -> Iterator[Change]:
    owned = now.select(ReplicaSet, by_owner, (Deployment.KIND, *deployment.key))
    sets = sorted(owned.values(), key=lambda rs: (_revision(rs), rs.name))
    hash_ = template_hash(deployment.spec.template)
    current = next((rs for rs in sets if rs.metadata.labels.get(TEMPLATE_HASH) == hash_), None)
    latest = max(map(_revision, sets), default=0)
    if current is None:
        current = _new_set(deployment, hash_, latest + 1)
        sets.append(current)
    elif _revision(current) < latest:
        annotations = {**current.metadata.annotations, REVISION: str(latest + 1)}
        current = _update(sets, current, replace(current, metadata=replace(current.metadata, annotations=annotations)))
    old = [rs for rs in sets if rs.name != current.name]
    if any(rs.spec.replicas for rs in old):
        sets = _roll(deployment.spec.replicas, current, old)
    else:
        _update(sets, current, _scaled(current, deployment.spec.replicas))
    for rs in sets:
        if owned.get(rs.key) != rs:
            yield put(rs)
    finished = [rs for rs in old if not rs.spec.replicas and not rs.status.replicas]
    for rs in finished[:-HISTORY]:
        yield from remove(rs, now)
    status = WorkloadStatus(
        replicas=sum(rs.status.replicas for rs in sets),
        readyReplicas=sum(rs.status.readyReplicas for rs in sets),
        availableReplicas=sum(rs.status.availableReplicas for rs in sets),
        updatedReplicas=next(rs.status.replicas for rs in sets if rs.name == current.name),
        observedGeneration=deployment.metadata.generation,
    )
    if status != deployment.status:
        yield put(replace(deployment, status=status))


def _roll(wanted: int, current: ReplicaSet, old: list[ReplicaSet]) -> list[ReplicaSet]:
    """One step of a rolling update: the new set grows as far as the surge allows, the old ones shrink as far as enough
    pods stay available (pods that are not available go first)."""
    surge, unavailable = -(-wanted // 4), wanted // 4
    total = current.spec.replicas + sum(rs.spec.replicas for rs in old)
    grown = min(wanted, current.spec.replicas + max(0, wanted + surge - total))
    total += grown - current.spec.replicas
    spare = total - (wanted - unavailable) - max(0, grown - current.status.availableReplicas)
    after = []
    for rs in old:
        broken = min(spare, max(0, rs.spec.replicas - rs.status.availableReplicas))
        spare -= max(broken, 0)
        after.append(_scaled(rs, rs.spec.replicas - max(broken, 0)))
    available = current.status.availableReplicas + sum(min(r.spec.replicas, r.status.availableReplicas) for r in after)
    spare = min(spare, available - (wanted - unavailable))
    for number, rs in enumerate(after):
        drop = min(max(spare, 0), rs.spec.replicas)
        spare -= drop
        after[number] = _scaled(rs, rs.spec.replicas - drop)
    return [*after, _scaled(current, grown)]


def _update(sets: list[ReplicaSet], old: ReplicaSet, new: ReplicaSet) -> ReplicaSet:
    sets[sets.index(old)] = new
    return new


def _scaled(rs: ReplicaSet, replicas: int) -> ReplicaSet:
    return rs if rs.spec.replicas == replicas else replace(rs, spec=replace(rs.spec, replicas=replicas))


def _revision(rs: ReplicaSet) -> int:
    text = rs.metadata.annotations.get(REVISION, "0")
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _new_set(deployment: Deployment, hash_: str, revision: int) -> ReplicaSet:
    template, selector = deployment.spec.template, deployment.spec.selector
    labels = {**template.metadata.labels, TEMPLATE_HASH: hash_}
    return ReplicaSet(
        metadata=ObjectMeta(
            name=f"{deployment.name}-{hash_}",
            namespace=deployment.namespace,
            labels=labels,
            annotations={REVISION: str(revision)},
            ownerReferences=(owned_by(deployment),),
        ),
        spec=WorkloadSpec(
            replicas=0,
            selector=LabelSelector(
                matchLabels={**selector.matchLabels, TEMPLATE_HASH: hash_}, matchExpressions=selector.matchExpressions
            ),
            template=replace(template, metadata=replace(template.metadata, labels=labels)),
        ),
    )


# --- ReplicaSet -----------------------------------------------------------------------------------------------------


def _replicas(rs: ReplicaSet, now: Snapshot) -> Iterator[Change]:
    pods = [p for p in now.select(Pod, by_owner, (ReplicaSet.KIND, *rs.key)).values() if active(p)]
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
    status = WorkloadStatus(
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
        status=PodStatus(phase="Pending"),
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
