"""What an object's change says of the way it goes: who wrote what, one step each. Pure.

The lab's controllers answer each other before anything is written, so that one write may do what takes several in a
cluster whose controllers are programs apart: a pod is then made, bound and addressed in one. Each has its step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.core import Endpoints, Pod
from k8snetlab.api.discovery import MANAGED_BY, EndpointSlice
from k8snetlab.api.events import Event
from k8snetlab.api.meta import Object
from k8snetlab.api.pod_state import restart_count, shown_ready, shown_status
from k8snetlab.api.workloads import DaemonSet, Job, ReplicationController, StatefulSet
from k8snetlab.controllers.scheduler import COMPONENT as SCHEDULER
from k8snetlab.messages.follow import Step

API, KUBELET, HOST_LOCAL = "API", "kubelet", "host-local"
SLICES = "endpointslice-controller"
MAKERS = {
    "Deployment": "deployment-controller",
    "ReplicaSet": "replicaset-controller",
    "ReplicationController": "replication-controller",
    "DaemonSet": "daemonset-controller",
    "StatefulSet": "statefulset-controller",
    "Job": "job-controller",
    "Service": SLICES,
}
"""By the kind of an owner who makes what it owns, and writes its own status."""
SHOWN = 3
"""Addresses that a line has; the others are counted."""


def steps(old: Object | None, new: Object | None, at: float, revision: int) -> list[Step]:
    """Of one change; nothing of one that only a clock's hand made. `revision` is of the store."""
    obj = new or old
    assert obj is not None
    if isinstance(new, Event):
        about = new.involvedObject
        where = f"{about.kind} {about.namespace}/{about.name}" if about.namespace else f"{about.kind} {about.name}"
        times = f" (x{new.count})" if new.count > 1 else ""
        words = f"{new.reason}{times}: {new.message}"
        who = new.origin.component or new.reportingComponent
        return [Step(at, "event", who, words, node=new.origin.host, object=where, revision=revision)]
    found = list(_changed(old, new)) if new is not None else [(_ender(obj), "is gone")]
    words = f"{obj.KIND.lower()}/{obj.name}"
    return [
        Step(at, "write", who, f"{words} {what}", node=_node(who, obj), object=title(obj), revision=revision)
        for who, what in found
    ]


def title(obj: Object) -> str:
    return f"{obj.KIND} {obj.namespace}/{obj.name}" if obj.namespaced else f"{obj.KIND} {obj.name}"


def as_it_stands(obj: Object, at: float) -> list[Step]:
    """The steps that an object tells of that is there already."""
    found = steps(None, obj, at, int(obj.metadata.resourceVersion or 0))
    return [replace(step, before=True, what=step.what.replace(" is created", " is there", 1)) for step in found]


def _node(who: str, obj: Object) -> str:
    return obj.spec.nodeName if isinstance(obj, Pod) and who == KUBELET else ""


def _ender(obj: Object) -> str:
    """Who takes the last of an object away: of a pod that ran the kubelet, when its containers have ended."""
    return KUBELET if isinstance(obj, Pod) and obj.spec.nodeName else _maker(obj) or API


def _maker(obj: Object) -> str:
    """The controller that makes the object, "" for what users write."""
    owner = next((one for one in obj.metadata.ownerReferences if one.controller), None)
    if isinstance(obj, EndpointSlice) and obj.metadata.labels.get(MANAGED_BY):
        return obj.metadata.labels[MANAGED_BY].partition(".")[0]
    return MAKERS.get(owner.kind, "") if owner else ""


def _changed(old: Object | None, new: Object) -> Iterator[tuple[str, str]]:
    """Who did it, and what."""
    if old is None:
        yield _maker(new) or API, "is created" + (f", with {said}" if (said := _endpoints(new)) else "")
    elif _is_asked(old, new):
        yield _maker(new) or API, _asked(old, new)
    if new.metadata.deletionTimestamp and (old is None or not old.metadata.deletionTimestamp):
        yield _maker(new) or API, "is marked for deletion"
    match new:
        case Pod():
            yield from _of_pod(old if isinstance(old, Pod) else None, new)
        case EndpointSlice() | Endpoints():
            if old is not None and _endpoints(old) != _endpoints(new):
                yield _maker(new) or API, f"has {_endpoints(new)}"
        case _:
            if (now := _status(new)) and now != (_status(old) or _status(_fresh(new))):
                yield MAKERS[new.KIND], f"has {now}"


def _is_asked(old: Object, new: Object) -> bool:
    """Whether its spec is another one than before; that of a slice is all that it says."""
    other = old.metadata.generation != new.metadata.generation
    return other and not new.metadata.deletionTimestamp and not isinstance(new, EndpointSlice)


def _asked(old: Object, new: Object) -> str:
    wanted = [one.spec.replicas for one in (old, new) if isinstance(one, Deployment | ReplicaSet | StatefulSet)]
    if len(wanted) == 2 and wanted[0] != wanted[1]:
        return f"is scaled from {wanted[0]} to {wanted[1]}"
    return f"is changed (generation {new.metadata.generation})"


def _of_pod(old: Pod | None, new: Pod) -> Iterator[tuple[str, str]]:
    if new.spec.nodeName and (old is None or not old.spec.nodeName):
        yield SCHEDULER, f"is bound to {new.spec.nodeName}"
    if new.ips and not new.spec.hostNetwork and (old is None or not old.ips):
        yield HOST_LOCAL, f"gets {' and '.join(new.ips)}"
    if new.status.containerStatuses and (old is None or (old.status != new.status and _shown(old) != _shown(new))):
        yield KUBELET, f"is {_shown(new)}"


def _shown(pod: Pod) -> str:
    """As `get pods` has it."""
    if not pod.status.containerStatuses and not pod.status.initContainerStatuses:
        return ""
    again = restart_count(pod)
    return f"{shown_status(pod)}, {shown_ready(pod)} ready" + (f", restarted {again}x" if again else "")


def _fresh(obj: Object) -> Object:
    """The object before any controller has looked at it."""
    whole: Any = obj
    return replace(whole, status=type(whole.status)()) if hasattr(whole, "status") else obj


def _status(obj: Object | None) -> str:
    """What a controller says of its object, in a few words; "" of others."""
    match obj:
        case Deployment(status=status):
            available = f"{status.availableReplicas} of {status.replicas} pods available"
            return f"{available}, {status.updatedReplicas} up to date"
        case ReplicaSet() | ReplicationController() | StatefulSet():
            return f"{obj.status.readyReplicas} of {obj.status.replicas} pods ready"
        case DaemonSet(status=status):
            return f"{status.numberReady} of {status.desiredNumberScheduled} pods ready"
        case Job(status=status):
            return f"{status.active} pods active, {status.succeeded} succeeded, {status.failed} failed"
    return ""


def _endpoints(obj: Object) -> str:
    if isinstance(obj, EndpointSlice):
        ready = ready_addresses(obj)
        return f"{len(ready)} of {len(obj.endpoints)} ready{_listed(ready)}"
    if isinstance(obj, Endpoints):
        addresses = [address.ip for subset in obj.subsets for address in subset.addresses]
        return f"{len(addresses)} ready{_listed(addresses)}"
    return ""


def ready_addresses(slice_: EndpointSlice) -> list[str]:
    return [e.addresses[0] for e in slice_.endpoints if e.addresses and e.conditions.ready is not False]


def _listed(addresses: Sequence[str]) -> str:
    if not addresses:
        return ""
    more = f" and {len(addresses) - SHOWN} more" if len(addresses) > SHOWN else ""
    return f": {', '.join(addresses[:SHOWN])}{more}"
