"""The columns of DaemonSets, StatefulSets, ReplicationControllers, Jobs and ControllerRevisions.

Source: Kubernetes pkg/printers/internalversion/printers.go.
"""

from __future__ import annotations

from datetime import datetime

from k8snetlab.api.ages import duration
from k8snetlab.api.cells import AGE, NAME, NONE, Column, containers_of, images_of, labels, selector_of
from k8snetlab.api.meta import Object
from k8snetlab.api.workloads import ControllerRevision, DaemonSet, Job, ReplicationController, StatefulSet


def _status(job: Job) -> str:
    said = {one.type for one in job.status.conditions if one.status == "True"}
    for type_ in ("Complete", "Failed"):
        if type_ in said:
            return type_
    if job.metadata.deletionTimestamp:
        return "Terminating"
    for type_ in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if type_ in said:
            return type_
    return "Running"


def _completions(job: Job) -> str:
    wanted, parallelism = job.spec.completions, job.spec.parallelism or 0
    if wanted is not None:
        return f"{job.status.succeeded}/{wanted}"
    return f"{job.status.succeeded}/1 of {parallelism}" if parallelism > 1 else f"{job.status.succeeded}/1"


def _took(job: Job, now: float) -> str:
    if not job.status.startTime:
        return ""
    end = job.status.completionTime
    return duration((datetime.fromisoformat(end).timestamp() if end else now) - _seconds(job.status.startTime))


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _controller(revision: ControllerRevision) -> str:
    owner = next((one for one in revision.metadata.ownerReferences if one.controller), None)
    if owner is None:
        return NONE
    group = owner.apiVersion.rpartition("/")[0]
    kind = owner.kind.lower()
    return f"{kind}.{group}/{owner.name}" if group else f"{kind}/{owner.name}"


def _wide(selector: Column) -> tuple[Column, ...]:
    return (
        Column("Containers", lambda o: containers_of(o.spec.template.spec), wide=True),
        Column("Images", lambda o: images_of(o.spec.template.spec), wide=True),
        selector,
    )


_SELECTOR = Column("Selector", lambda o: selector_of(o.spec.selector), wide=True)

COLUMNS: dict[type[Object], tuple[Column, ...]] = {
    DaemonSet: (
        NAME,
        Column("Desired", lambda d: d.status.desiredNumberScheduled, type="integer"),
        Column("Current", lambda d: d.status.currentNumberScheduled, type="integer"),
        Column("Ready", lambda d: d.status.numberReady, type="integer"),
        Column("Up-to-date", lambda d: d.status.updatedNumberScheduled, type="integer"),
        Column("Available", lambda d: d.status.numberAvailable, type="integer"),
        Column("Node Selector", lambda d: labels(d.spec.template.spec.nodeSelector)),
        AGE,
        *_wide(_SELECTOR),
    ),
    StatefulSet: (
        NAME,
        Column("Ready", lambda s: f"{s.status.readyReplicas}/{s.spec.replicas}"),
        AGE,
        Column("Containers", lambda s: containers_of(s.spec.template.spec), wide=True),
        Column("Images", lambda s: images_of(s.spec.template.spec), wide=True),
    ),
    ReplicationController: (
        NAME,
        Column("Desired", lambda r: r.spec.replicas, type="integer"),
        Column("Current", lambda r: r.status.replicas, type="integer"),
        Column("Ready", lambda r: r.status.readyReplicas, type="integer"),
        AGE,
        *_wide(Column("Selector", lambda r: labels(r.spec.selector), wide=True)),
    ),
    Job: (
        NAME,
        Column("Status", _status),
        Column("Completions", _completions),
        Column("Duration", timed=_took),
        AGE,
        *_wide(Column("Selector", lambda j: selector_of(j.spec.selector) if j.spec.selector else NONE, wide=True)),
    ),
    ControllerRevision: (
        NAME,
        Column("Controller", _controller),
        Column("Revision", lambda r: r.revision, type="integer"),
        AGE,
    ),
}
