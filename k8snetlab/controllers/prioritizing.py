"""A new pod's priority, which its PriorityClass says. Source: Kubernetes plugin/pkg/admission/priority."""

from __future__ import annotations

from msgspec.structs import replace

from k8snetlab.api.coordination import SYSTEM_CLASSES, PriorityClass
from k8snetlab.api.core import Pod
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import shorten
from k8snetlab.errors import ForbiddenError


def prioritized(pod: Pod, snapshot: Snapshot) -> Pod:
    """Raises ForbiddenError where there is no PriorityClass of the name."""
    name = pod.spec.priorityClassName
    found = _named(name, snapshot) if name else _default(snapshot)
    if found is None:
        if name:
            raise ForbiddenError(
                f'pods "{pod.name}" is forbidden: no PriorityClass with name {shorten(name)} was found',
                "create it, or take priorityClassName out",
            )
        return pod
    return replace(
        pod,
        spec=replace(
            pod.spec,
            priorityClassName=found.name,
            priority=found.value,
            preemptionPolicy=found.preemptionPolicy,
        ),
    )


def _named(name: str, snapshot: Snapshot) -> PriorityClass | None:
    found = snapshot.get(PriorityClass, name)
    if found is None and name in SYSTEM_CLASSES:  # which the controllers of a new lab are about to make
        return PriorityClass(metadata=ObjectMeta(name=name), value=SYSTEM_CLASSES[name])
    return found


def _default(snapshot: Snapshot) -> PriorityClass | None:
    """The class of pods that name none: of several the one with the lowest value."""
    classes = [one for one in snapshot.all(PriorityClass).values() if one.globalDefault]
    return min(classes, key=lambda one: one.value, default=None)
