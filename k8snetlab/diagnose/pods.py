"""Pods that do not run, or not well, and what they and the Events about them say of it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from msgspec.structs import replace

from k8snetlab.api.core import Pod
from k8snetlab.api.events import WARNING, Event, by_object
from k8snetlab.api.meta import Object, OwnerReference
from k8snetlab.api.pod_state import shown_status, trouble
from k8snetlab.api.selection import services_of
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.diagnose.finding import Finding
from k8snetlab.trace.owners import Owners

SCHEDULER = "default-scheduler"
"""The one that a lab has."""
UNHEALTHY = "Unhealthy"
"""The reason of the Event of a probe that failed."""
MOST = 3
"""Pods of one controller with the same trouble, reported one by one, at most."""


def pods(snapshot: Snapshot) -> Iterator[Finding]:
    """Those that are not ready, and those that failed behind a Service. A pod that is being deleted is none.

    Pods of one controller that all wait for the same thing on the same node are one finding, named after the first.
    """
    alike: dict[Hashable, list[tuple[Pod, Finding]]] = {}
    for pod, finding in _each(snapshot):
        why = finding.message.partition(": ")[2]
        owner = _controller_of(pod)
        group = (pod.namespace, owner.kind, owner.name) if owner else pod.key
        alike.setdefault((group, finding.fault, finding.node, why, finding.consequence), []).append((pod, finding))
    for members in alike.values():
        if len(members) <= MOST:
            yield from (finding for _, finding in members)
            continue
        pod, first = members[0]
        owner = _controller_of(pod)
        others = f"{len(members) - 1} more of {owner.kind} {owner.name}" if owner else ""
        name = f"pod {pod.namespace}/{pod.name}"
        yield replace(first, message=first.message.replace(name, f"{name} and {others}", 1))


def _controller_of(pod: Pod) -> OwnerReference | None:
    return next((owner for owner in pod.metadata.ownerReferences if owner.controller), None)


def _each(snapshot: Snapshot) -> Iterator[tuple[Pod, Finding]]:
    owners = Owners(snapshot)
    for pod in snapshot.all(Pod).values():
        failed = pod.status.phase == "Failed" and bool(services_of(pod, snapshot))
        if pod.metadata.deletionTimestamp or pod.ready or (pod.ended and not failed):
            continue
        name, why = f"{pod.namespace}/{pod.name}", _why(snapshot, pod)
        fault = "failed" if failed else "waiting" if pod.spec.nodeName else "pending"
        yield (
            pod,
            Finding(
                kind="pod",
                fault=fault,
                node=pod.spec.nodeName,
                object=name,
                message=f"pod {name}: {why}",
                consequence=_consequence(snapshot, pod),
                show=f"k8snetlab logs {pod.name} -n {pod.namespace}"
                if failed or _has_run(pod)
                else f"k8snetlab get events -n {pod.namespace}",
                owner=owners.of(pod),
            ),
        )


def latest(snapshot: Snapshot, about: Object, reason: str = "") -> str:
    """What the latest Warning about an object says, of that `reason` ("": of any), "" where there is none:
    "FailedScheduling: 0/2 nodes …"."""
    found = snapshot.select(Event, by_object, (about.KIND, about.namespace, about.name)).values()
    last = max(
        (e for e in found if e.type == WARNING and reason in ("", e.reason)), key=lambda event: event.seen, default=None
    )
    return f"{last.reason}: {last.message}" if last else ""


def _why(snapshot: Snapshot, pod: Pod) -> str:
    if said := trouble(pod):
        return said if pod.spec.nodeName else f"is Pending: {said}"
    if not pod.spec.nodeName and pod.spec.schedulerName != SCHEDULER:
        return f"is Pending, on no node: its schedulerName is {pod.spec.schedulerName}, and none of that name binds it"
    refused = next((c.message for c in pod.status.conditions if c.status != "True" and c.message), "")
    if pod.spec.nodeName and (probed := latest(snapshot, pod, UNHEALTHY)):
        refused = probed
    said = refused or latest(snapshot, pod)
    what = f"is {shown_status(pod)}" if shown_status(pod) != "Running" else "runs and is not ready"
    where = "" if pod.spec.nodeName else ", on no node"
    return f"{what}{where}{f': {said}' if said else ''}"


def _has_run(pod: Pod) -> bool:
    return any(s.restartCount or s.lastState.terminated for s in pod.status.containerStatuses)


def _consequence(snapshot: Snapshot, pod: Pod) -> str:
    behind = [f"{service.namespace}/{service.name}" for service in services_of(pod, snapshot)]
    if not behind:
        return "whoever asks it hears nothing"
    return f"it is no endpoint of Service {' and '.join(behind)}, and whoever asks it hears nothing"
