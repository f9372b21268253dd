"""Events that tell why something fails now: of all the Warnings those about objects that are not as they should be."""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.core import Node, Pod
from k8snetlab.api.events import WARNING, Event
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Snapshot

_KINDS: dict[str, type[Object]] = {kind.KIND: kind for kind in (Pod, Deployment, ReplicaSet, Node)}


def warnings(snapshot: Snapshot) -> Iterator[str]:
    """A sentence for each such object, of its latest Warning: "pod default/x: FailedScheduling: 0/2 nodes …"."""
    last: dict[tuple[str, str, str], Event] = {}
    for event in snapshot.all(Event).values():
        about = event.involvedObject
        key = (about.kind, about.namespace, about.name)
        if event.type == WARNING and (key not in last or event.seen >= last[key].seen):
            last[key] = event
    for (kind, namespace, name), event in sorted(last.items()):
        found = snapshot.get(_KINDS[kind], name, namespace) if kind in _KINDS else None
        if found is not None and _fails(found):
            where = f"{namespace}/{name}" if namespace else name
            yield f"{kind.lower()} {where}: {event.reason}: {event.message}"


def _fails(obj: Object) -> bool:
    match obj:
        case Pod():
            return not obj.ready and obj.status.phase != "Succeeded" and not obj.metadata.deletionTimestamp
        case Deployment() | ReplicaSet():
            return obj.status.readyReplicas < (obj.spec.replicas or 0)
        case Node():
            return any(c.type == "Ready" and c.status != "True" for c in obj.status.conditions)
    return False
