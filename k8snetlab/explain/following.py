"""What follows from an object: what it owns, the Services that lead to its pods, and whether it is ready. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.core import Pod, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.events import Event, by_object
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import BY_KIND
from k8snetlab.api.selection import owned, pods_of, services_of, slices_by_service
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.api.workloads import DaemonSet, Job, ReplicationController, StatefulSet
from k8snetlab.explain.steps import ready_addresses

Name = tuple[str, str, str]
"""Kind, namespace and name."""


class Family:
    """An object and all that follows from it; who once belonged to it does so for ever, so that its end is told."""

    def __init__(self, kind: str, namespace: str, name: str) -> None:
        self.head: Name = (kind, namespace, name)
        self._members: dict[Name, None] = {self.head: None}
        self._met: dict[Name, None] = {}

    def of_head(self, snapshot: Snapshot) -> Object | None:
        return snapshot.all(BY_KIND[self.head[0]].type).get(self.head[1:])

    def look(self, snapshot: Snapshot) -> list[Object]:
        """Those that are there and were not before, the head first, in the order in which they follow from each
        other."""
        head = self.of_head(snapshot)
        found: dict[Name, Object] = {}
        if head is not None:
            self._take(head, snapshot, found)
        for service in self.services(snapshot):
            self._take(service, snapshot, found)
        new = [obj for name, obj in found.items() if name not in self._met]
        for one in found:
            self._members[one] = self._met[one] = None
        return new

    def events(self, snapshot: Snapshot, of: Iterable[Object]) -> list[Event]:
        """Those that there are of these, as they came."""
        found = [event for one in of for event in snapshot.select(Event, by_object, _name(one)).values()]
        return sorted(found, key=lambda event: int(event.metadata.resourceVersion or 0))

    def _take(self, obj: Object, snapshot: Snapshot, found: dict[Name, Object]) -> None:
        waiting = [obj]
        while waiting:
            one = waiting.pop(0)
            if _name(one) in found or one.KIND not in BY_KIND:
                continue
            found[_name(one)] = one
            waiting += owned(one, snapshot)
            if isinstance(one, Service):
                waiting += snapshot.select(EndpointSlice, slices_by_service, one.key).values()

    def has(self, obj: Object) -> bool:
        """Whether it belongs to it, or is an Event of one that does."""
        if isinstance(obj, Event):
            about = obj.involvedObject
            return (about.kind, about.namespace, about.name) in self._members
        return _name(obj) in self._members

    def pods(self, snapshot: Snapshot) -> list[Pod]:
        """Its own; of a Service those that it selects."""
        head = self.of_head(snapshot)
        if isinstance(head, Service):
            return pods_of(head, snapshot)
        mine = (snapshot.get(Pod, name, namespace) for kind, namespace, name in self._members if kind == Pod.KIND)
        return [pod for pod in mine if pod is not None]

    def services(self, snapshot: Snapshot) -> list[Service]:
        """Those that lead to its pods."""
        head = self.of_head(snapshot)
        if isinstance(head, Service):
            return [head]
        found: dict[Key, Service] = {}
        held = list(self._owned_pods(head, snapshot)) if head is not None else []
        for pod in held:
            found.update({service.key: service for service in services_of(pod, snapshot)})
        return list(found.values())

    def _owned_pods(self, head: Object, snapshot: Snapshot) -> Iterator[Pod]:
        if isinstance(head, Pod):
            yield head
        for one in owned(head, snapshot):
            yield from self._owned_pods(one, snapshot)


def changes(now: Snapshot, before: Snapshot) -> Iterator[tuple[Object | None, Object | None, int]]:
    """Old, new and revision of each object that changed, in the order of revisions."""
    found: list[tuple[int, Object | None, Object | None]] = []
    for type_ in dict.fromkeys((*now.types(), *before.types())):
        for key in now.changes(type_, before):
            old, new = before.all(type_).get(key), now.all(type_).get(key)
            if old is not new:
                found.append((int((new.metadata.resourceVersion if new else "") or now.revision), old, new))
    for revision, old, new in sorted(found, key=lambda one: one[0]):
        yield old, new, revision


def is_ready(head: Object | None, snapshot: Snapshot) -> bool:
    """Whether it is what it asks to be; of kinds that ask for nothing, whether it is there."""
    match head:
        case None:
            return False
        case Deployment(spec=spec, status=status):
            counts = {status.replicas, status.updatedReplicas, status.availableReplicas}
            return status.observedGeneration >= head.metadata.generation and counts == {spec.replicas}
        case ReplicaSet() | ReplicationController() | StatefulSet():
            known = head.status.observedGeneration >= head.metadata.generation
            return known and head.status.readyReplicas == head.spec.replicas == head.status.replicas
        case DaemonSet(status=status):
            known = status.observedGeneration >= head.metadata.generation
            return known and status.numberReady == status.desiredNumberScheduled == status.updatedNumberScheduled
        case Job(status=status):
            return any((one.type, one.status) == ("Complete", "True") for one in status.conditions)
        case Pod():
            return head.ready or head.status.phase == "Succeeded"
        case Service():
            slices = snapshot.select(EndpointSlice, slices_by_service, head.key).values()
            return any(ready_addresses(one) for one in slices)
    return True


def _name(obj: Object) -> Name:
    return obj.KIND, *obj.key
