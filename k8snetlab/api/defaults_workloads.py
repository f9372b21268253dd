"""What the API server fills in of DaemonSets, StatefulSets, ReplicationControllers and Jobs, but for their pods.

Source: Kubernetes pkg/apis/{apps,batch,core}/v1/defaults.go, pkg/registry/batch/job/strategy.go (generateSelector).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from k8snetlab.api.meta import LabelSelector, Object
from k8snetlab.api.workloads import (
    CONTROLLER_UID,
    JOB_NAME,
    DaemonSet,
    Job,
    ReplicationController,
    RollingUpdateDaemonSet,
    RollingUpdateStatefulSetStrategy,
    StatefulSet,
)


def daemon_set(obj: DaemonSet) -> DaemonSet:
    strategy = obj.spec.updateStrategy
    if strategy.type != "RollingUpdate" or strategy.rollingUpdate is not None:
        return obj
    strategy = replace(strategy, rollingUpdate=RollingUpdateDaemonSet())
    return replace(obj, spec=replace(obj.spec, updateStrategy=strategy))


def stateful_set(obj: StatefulSet) -> StatefulSet:
    strategy = obj.spec.updateStrategy
    if strategy.type != "RollingUpdate" or strategy.rollingUpdate is not None:
        return obj
    strategy = replace(strategy, rollingUpdate=RollingUpdateStatefulSetStrategy())
    return replace(obj, spec=replace(obj.spec, updateStrategy=strategy))


def replication_controller(obj: ReplicationController) -> ReplicationController:
    """Its selector and its own labels are its pods' where it says none."""
    labels = obj.spec.template.metadata.labels
    if labels and not obj.spec.selector:
        obj = replace(obj, spec=replace(obj.spec, selector=labels))
    if labels and not obj.metadata.labels:
        obj = replace(obj, metadata=replace(obj.metadata, labels=labels))
    return obj


def job(obj: Job) -> Job:
    spec, labels = obj.spec, obj.spec.template.metadata.labels
    changes: dict[str, object] = {}
    if spec.completions is None and spec.parallelism is None:
        changes["completions"] = 1
    if spec.parallelism is None:
        changes["parallelism"] = 1
    if labels and not obj.metadata.labels:
        obj = replace(obj, metadata=replace(obj.metadata, labels=labels))
    return replace(obj, spec=replace(spec, **changes)) if changes else obj


def selecting(obj: Job) -> Job:
    """A new Job, which has its uid, with the selector of its own pods and the labels that they carry for it."""
    if obj.spec.manualSelector:
        return obj
    uid = obj.metadata.uid
    own = {CONTROLLER_UID: uid, JOB_NAME: obj.name, "controller-uid": uid, "job-name": obj.name}
    template = obj.spec.template
    labels = {**template.metadata.labels, **own}
    template = replace(template, metadata=replace(template.metadata, labels=labels))
    selector = obj.spec.selector or LabelSelector()
    if not selector.matchLabels:
        selector = replace(selector, matchLabels={CONTROLLER_UID: uid})
    return replace(obj, spec=replace(obj.spec, selector=selector, template=template))


OF_KIND: Mapping[type[Object], Callable[[Any], Object]] = {
    DaemonSet: daemon_set,
    StatefulSet: stateful_set,
    ReplicationController: replication_controller,
    Job: job,
}
