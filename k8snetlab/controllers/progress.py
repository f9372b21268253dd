"""Whether a Deployment's rollout goes on, as its condition Progressing says.

Source: Kubernetes pkg/controller/deployment (progress.go, util.DeploymentComplete, DeploymentProgressing,
DeploymentTimedOut).
"""

from __future__ import annotations

from k8snetlab.api.ages import moment
from k8snetlab.api.apps import Deployment, WorkloadStatus
from k8snetlab.api.core import Condition
from k8snetlab.controllers.changes import with_condition, without_condition

PROGRESSING = "Progressing"
CREATED, FOUND, UPDATED = "NewReplicaSetCreated", "FoundNewReplicaSet", "ReplicaSetUpdated"
COMPLETE, TIMED_OUT = "NewReplicaSetAvailable", "ProgressDeadlineExceeded"
PAUSED, RESUMED = "DeploymentPaused", "DeploymentResumed"
NO_DEADLINE = 2**31 - 1
Conditions = tuple[Condition, ...]


def after(deployment: Deployment, status: WorkloadStatus, new: str, time: float, made: str = "") -> Conditions:
    """The conditions of the counted `status`, with what is so of the rollout to the ReplicaSet `new` at `time`
    (seconds since 1970). `made`: the ReplicaSet that was made a moment ago."""
    spec, conditions = deployment.spec, status.conditions
    if spec.progressDeadlineSeconds == NO_DEADLINE:
        return without_condition(conditions, PROGRESSING)
    if made:
        conditions = with_condition(conditions, _condition("True", CREATED, f'Created new replica set "{made}"'))
    old = _of(conditions)
    if old is None:
        old = _condition("True", FOUND, f'Found new replica set "{new}"')
    elif old.reason == PAUSED:
        old = _condition("Unknown", RESUMED, "Deployment is resumed")
    conditions = with_condition(conditions, old)
    if old.reason == COMPLETE and status.replicas == status.updatedReplicas:
        return conditions
    said = f'ReplicaSet "{new}" '
    if status.updatedReplicas == status.replicas == status.availableReplicas == spec.replicas:
        return with_condition(conditions, _condition("True", COMPLETE, f"{said}has successfully progressed."))
    if _moved(status, deployment.status):
        # In place of one that says the same: when it was last true is what the deadline is counted from.
        progress = _condition("True", UPDATED, f"{said}is progressing.")
        return (*without_condition(conditions, PROGRESSING), progress)
    until = deadline(deployment, conditions)
    if old.reason == TIMED_OUT or (until is not None and until <= time):
        return with_condition(conditions, _condition("False", TIMED_OUT, f"{said}has timed out progressing."))
    return conditions


def paused(deployment: Deployment, conditions: Conditions) -> Conditions:
    """Of one whose rollout is held; that it had timed out goes on being said."""
    old = _of(conditions)
    if deployment.spec.progressDeadlineSeconds == NO_DEADLINE or (old and old.reason == TIMED_OUT):
        return conditions
    return with_condition(conditions, _condition("Unknown", PAUSED, "Deployment is paused"))


def deadline(deployment: Deployment, conditions: Conditions) -> float | None:
    """When (seconds since 1970) the rollout has taken too long; None where it need not go on, or its last step has no
    time yet."""
    old = _of(conditions)
    seconds = deployment.spec.progressDeadlineSeconds
    if old is None or seconds == NO_DEADLINE or old.reason in (COMPLETE, TIMED_OUT, PAUSED):
        return None
    last = moment(old.lastUpdateTime)
    return None if last is None else last + seconds


def _moved(new: WorkloadStatus, old: WorkloadStatus) -> bool:
    return (
        new.updatedReplicas > old.updatedReplicas
        or new.replicas - new.updatedReplicas < old.replicas - old.updatedReplicas
        or new.readyReplicas > old.readyReplicas
        or new.availableReplicas > old.availableReplicas
    )


def _of(conditions: Conditions) -> Condition | None:
    return next((one for one in conditions if one.type == PROGRESSING), None)


def _condition(status: str, reason: str, message: str) -> Condition:
    return Condition(type=PROGRESSING, status=status, reason=reason, message=message)
