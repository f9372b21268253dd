"""The PriorityClasses that each cluster has.

Source: Kubernetes pkg/registry/scheduling/rest (storage_scheduling.go).
"""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.coordination import SYSTEM_CLASSES, PriorityClass
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.changes import Answer, put

_ABOUT = {
    "system-cluster-critical": "Used for system critical pods that must run in the cluster, but can be moved to "
    "another node if necessary.",
    "system-node-critical": "Used for system critical pods that must not be moved from their current node.",
}


def reconcile(now: Snapshot, before: Snapshot | None) -> Iterator[Answer]:
    if not now.all(Lab) or not (now.changes(Lab, before) or now.changes(PriorityClass, before)):
        return
    for name, value in SYSTEM_CLASSES.items():
        if not now.get(PriorityClass, name):
            yield put(PriorityClass(metadata=ObjectMeta(name=name), value=value, description=_ABOUT[name]))
