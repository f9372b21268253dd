"""Deployments make ReplicaSets, and roll from one to the next.

Source: Kubernetes pkg/controller/deployment (rolling.go, recreate.go, util.ResolveFenceposts).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from msgspec.structs import replace

from k8snetlab.api.apps import Deployment, DeploymentSpec, ReplicaSet, WorkloadSpec, WorkloadStatus
from k8snetlab.api.core import Condition, Pod
from k8snetlab.api.meta import LabelSelector, ObjectMeta
from k8snetlab.api.selection import by_owner
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.controllers import progress
from k8snetlab.controllers.changes import (
    NOTHING,
    Answer,
    Context,
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
from k8snetlab.controllers.identity import controller_of, owned_by, template_hash
from k8snetlab.controllers.proportions import DESIRED, MOST, fenceposts, is_scaling, scaled, sized
from k8snetlab.controllers.replica_sets import FAILURE

COMPONENT = "deployment-controller"
SET_FAILURE = "ReplicaSetCreateError"
TEMPLATE_HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
NOT_COPIED = (REVISION, DESIRED, MOST, "kubectl.kubernetes.io/last-applied-configuration")
"""Annotations that a ReplicaSet has its own of, or none."""
OUR_OWN = "k8snetlab/"
"""What annotations begin with that say how an object came here: by `up`, and from which line of a file."""
W = TypeVar("W", Deployment, ReplicaSet)


def reconcile(now: Snapshot, before: Snapshot | None, context: Context = NOTHING) -> Iterator[Answer]:
    keys = dict.fromkeys((*owners_changed(Deployment, ReplicaSet, now, before), *_with_pods_gone(now, before)))
    there = [deployment for key in keys if (deployment := now.all(Deployment).get(key))]
    found = [deployment for deployment in there if not deployment.metadata.deletionTimestamp]

    def work(deployment: Deployment) -> Iterator[Answer]:
        failure = context.failures.get((deployment.KIND, *deployment.key), "")
        return _rollout(deployment, now, failure, context.time)

    yield from each(found, work, lambda deployment: deployment)


def _with_pods_gone(now: Snapshot, before: Snapshot | None) -> Iterator[Key]:
    """The Deployments that lost a pod for good, for which one with strategy Recreate may be waiting."""
    for key in now.changes(Pod, before) if before else ():
        pod = before.all(Pod).get(key) if before and key not in now.all(Pod) else None
        owner = controller_of(pod) if pod else None
        replica_set = now.get(ReplicaSet, owner.name, key[0]) if owner else None
        if replica_set and (owner := controller_of(replica_set)):
            yield key[0], owner.name


def _rollout(deployment: Deployment, now: Snapshot, failure: str, time: float) -> Iterator[Answer]:
    """`failure`: why a ReplicaSet of it was refused a moment ago; nothing moves meanwhile. `time`: in
    seconds since 1970."""
    owned = now.select(ReplicaSet, by_owner, (Deployment.KIND, *deployment.key))
    sets = sorted(owned.values(), key=lambda rs: (_revision(rs), rs.name))
    hash_ = template_hash(deployment.spec.template)
    current = next((rs for rs in sets if _same_template(rs, deployment)), None)
    latest = max(map(_revision, sets), default=0)
    if deployment.spec.paused:
        yield from _paused(deployment, sets, current)
        return
    if current is None and failure:
        yield from _without_set(deployment, sets, failure)
        return
    revision = latest + 1 if current is None or _revision(current) < latest else latest
    made = current is None
    if current is None:
        current = _new_set(deployment, hash_)
        sets.append(current)
    current = _update(sets, current, _ready_after(current, deployment.spec.minReadySeconds))
    current = _update(sets, current, _annotated(current, {**_copied(deployment), REVISION: str(revision)}))
    old = [rs for rs in sets if rs.name != current.name]
    sets = _stepped(deployment, sets, current, now)
    for rs in sets:
        if owned.get(rs.key) != rs:
            yield put(rs)
            yield from _scaling(deployment, owned.get(rs.key), rs)
    finished = [rs for rs in old if not rs.spec.replicas and not rs.status.replicas]
    for rs in finished[: max(0, len(finished) - deployment.spec.revisionHistoryLimit)]:
        yield from remove(rs, now)
    updated = next(rs.status.replicas for rs in sets if rs.name == current.name)
    status = replace(_counted(deployment, sets), updatedReplicas=updated)
    conditions = _conditions(deployment, status, sets, current.name)
    new = current.name if made else ""
    conditions = progress.after(deployment, replace(status, conditions=conditions), current.name, time, new)
    status = replace(status, conditions=conditions)
    yield from due(deployment, progress.deadline(deployment, conditions))
    told = _annotated(replace(deployment, status=status), {REVISION: str(revision)})
    if told != deployment:
        yield put(told)


def _stepped(deployment: Deployment, sets: list[ReplicaSet], current: ReplicaSet, now: Snapshot) -> list[ReplicaSet]:
    """The ReplicaSets with the numbers of pods that they are to have now."""
    spec, old = deployment.spec, [rs for rs in sets if rs.name != current.name]
    if spec.strategy.type == "Recreate" and any(_alive(rs, now) for rs in old):
        return [*(sized(rs, 0, spec) for rs in old), current]
    if is_scaling(deployment, sets):
        return scaled(deployment, sets, current)
    if any(rs.spec.replicas for rs in old):
        return _roll(spec, current, old)
    return [*old, sized(current, spec.replicas, spec)]


def _paused(deployment: Deployment, sets: list[ReplicaSet], current: ReplicaSet | None) -> Iterator[Answer]:
    """No step of a rollout is made; only the number of pods follows what is asked for."""
    for old, new in zip(sets, scaled(deployment, sets, current), strict=True):
        if new is not old:
            yield put(new)
            yield from _scaling(deployment, old, new)
    status = replace(_counted(deployment, sets), updatedReplicas=current.status.replicas if current else 0)
    conditions = _conditions(deployment, status, sets, current.name if current else "")
    status = replace(status, conditions=progress.paused(deployment, conditions))
    if status != deployment.status:
        yield put(replace(deployment, status=status))


def _without_set(deployment: Deployment, sets: list[ReplicaSet], failure: str) -> Iterator[Answer]:
    """What a Deployment says whose new ReplicaSet cannot be made (getNewReplicaSet)."""
    status = replace(_counted(deployment, sets), updatedReplicas=0)
    condition = Condition(type="Progressing", status="False", reason=SET_FAILURE, message=failure)
    status = replace(status, conditions=with_condition(_conditions(deployment, status, sets, ""), condition))
    if status != deployment.status:
        yield put(replace(deployment, status=status))


def _counted(deployment: Deployment, sets: list[ReplicaSet]) -> WorkloadStatus:
    wanted, available = sum(rs.spec.replicas for rs in sets), sum(rs.status.availableReplicas for rs in sets)
    return WorkloadStatus(
        replicas=sum(rs.status.replicas for rs in sets),
        readyReplicas=sum(rs.status.readyReplicas for rs in sets),
        availableReplicas=available,
        unavailableReplicas=max(0, wanted - available),
        observedGeneration=deployment.metadata.generation,
        conditions=deployment.status.conditions,
    )


def _scaling(deployment: Deployment, old: ReplicaSet | None, new: ReplicaSet) -> Iterator[Answer]:
    before, after = old.spec.replicas if old else 0, new.spec.replicas
    if before != after:
        message = f"Scaled {'up' if after > before else 'down'} replica set {new.name} from {before} to {after}"
        yield record(new, Note(deployment, "Normal", "ScalingReplicaSet", message, COMPONENT))


def _conditions(
    deployment: Deployment, status: WorkloadStatus, sets: list[ReplicaSet], current: str
) -> tuple[Condition, ...]:
    """Available, and ReplicaFailure where a ReplicaSet cannot make its pods (conditions in deployment/sync.go)."""
    spec = deployment.spec
    spared = min(spec.replicas, fenceposts(spec)[1]) if spec.strategy.type == "RollingUpdate" else 0
    available = status.availableReplicas >= spec.replicas - spared
    conditions = with_condition(
        status.conditions,
        Condition(
            type="Available",
            status=str(available),
            reason=f"MinimumReplicas{'A' if available else 'Una'}vailable",
            message=f"Deployment {'has' if available else 'does not have'} minimum availability.",
        ),
    )
    # The new ReplicaSet's failure says more than an old one's.
    for rs in sorted(sets, key=lambda rs: rs.name != current):
        for failure in rs.status.conditions:
            if failure.type == FAILURE:
                return with_condition(conditions, replace(failure, lastTransitionTime=None, lastUpdateTime=None))
    return without_condition(conditions, FAILURE)


def _same_template(rs: ReplicaSet, deployment: Deployment) -> bool:
    """Told by the templates themselves (EqualIgnoreHash): how a hash comes about may differ between versions."""
    template = rs.spec.template
    labels = {key: value for key, value in template.metadata.labels.items() if key != TEMPLATE_HASH}
    return replace(template, metadata=replace(template.metadata, labels=labels)) == deployment.spec.template


def _alive(rs: ReplicaSet, now: Snapshot) -> bool:
    """Whether it has pods, terminating ones included, or is about to make some."""
    return bool(rs.spec.replicas or now.select(Pod, by_owner, (ReplicaSet.KIND, *rs.key)))


def _roll(spec: DeploymentSpec, current: ReplicaSet, old: list[ReplicaSet]) -> list[ReplicaSet]:
    """One step of a rolling update: the new set grows as far as the surge allows, the old ones shrink as far as enough
    pods stay available (pods that are not available go first)."""
    wanted, (surge, unavailable) = spec.replicas, fenceposts(spec)
    total = current.spec.replicas + sum(rs.spec.replicas for rs in old)
    grown = min(wanted, current.spec.replicas + max(0, wanted + surge - total))
    total += grown - current.spec.replicas
    spare = total - (wanted - unavailable) - max(0, grown - current.status.availableReplicas)
    after = []
    for rs in old:
        broken = min(spare, max(0, rs.spec.replicas - rs.status.availableReplicas))
        spare -= max(broken, 0)
        after.append(sized(rs, rs.spec.replicas - max(broken, 0), spec))
    available = current.status.availableReplicas + sum(min(r.spec.replicas, r.status.availableReplicas) for r in after)
    spare = min(spare, available - (wanted - unavailable))
    for number, rs in enumerate(after):
        drop = min(max(spare, 0), rs.spec.replicas)
        spare -= drop
        after[number] = sized(rs, rs.spec.replicas - drop, spec)
    return [*after, sized(current, grown, spec)]


def _update(sets: list[ReplicaSet], old: ReplicaSet, new: ReplicaSet) -> ReplicaSet:
    sets[sets.index(old)] = new
    return new


def _ready_after(rs: ReplicaSet, seconds: int) -> ReplicaSet:
    return rs if rs.spec.minReadySeconds == seconds else replace(rs, spec=replace(rs.spec, minReadySeconds=seconds))


def _revision(rs: ReplicaSet) -> int:
    text = rs.metadata.annotations.get(REVISION, "0")
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _annotated(obj: W, annotations: dict[str, str]) -> W:
    """With these among its annotations."""
    both = {**obj.metadata.annotations, **annotations}
    return obj if both == obj.metadata.annotations else replace(obj, metadata=replace(obj.metadata, annotations=both))


def _copied(deployment: Deployment) -> dict[str, str]:
    """What its ReplicaSet is annotated with: why it was changed, for one (SetNewReplicaSetAnnotations)."""
    annotations = deployment.metadata.annotations.items()
    return {key: value for key, value in annotations if key not in NOT_COPIED and not key.startswith(OUR_OWN)}


def _new_set(deployment: Deployment, hash_: str) -> ReplicaSet:
    template, selector = deployment.spec.template, deployment.spec.selector
    labels = {**template.metadata.labels, TEMPLATE_HASH: hash_}
    return ReplicaSet(
        metadata=ObjectMeta(
            name=f"{deployment.name}-{hash_}",
            namespace=deployment.namespace,
            labels=labels,
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
