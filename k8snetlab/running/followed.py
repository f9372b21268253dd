"""What a verb waits for: the objects of its request and what follows from them, nobody else's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from k8snetlab.api.apps import ReplicaSet
from k8snetlab.api.core import Namespace, Pod, Service
from k8snetlab.api.gateway import Gateway
from k8snetlab.api.guest import Guest
from k8snetlab.api.meta import Object
from k8snetlab.api.networking import Ingress
from k8snetlab.api.routes import Route
from k8snetlab.api.scheme import BY_KIND
from k8snetlab.api.selection import by_owner, node_of_guest, services_of
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.api.workloads import MAKERS, ControllerRevision, DaemonSet, Job, Workload
from k8snetlab.controllers.deployments import SET_FAILURE
from k8snetlab.controllers.rejection import rejected
from k8snetlab.controllers.replica_sets import FAILURE

T = TypeVar("T", bound=Object)
Owner = tuple[str, str, str]
"""Kind, namespace and name."""
_OF_ONE_NODE: tuple[type[Object], ...] = (Pod, *MAKERS, ControllerRevision, Namespace, Guest)
"""Kinds that by themselves are in no other kernel than that of their pods' nodes."""


class Followed:
    """The objects of one request, and what follows from them. Each `look` follows owner references further, and what
    was once followed stays: the pods of a deleted Deployment are found when their ReplicaSet is gone already."""

    def __init__(self, objects: Iterable[Object] = ()) -> None:
        self._pods: dict[Key, str] = {}
        """Pods of the request, with the uid that is to go ("" for one that is to come)."""
        self._owners: dict[Owner, set[str]] = {}
        """Owners of pods, with the uids of those that are to go; no uid where it is to come."""
        self._namespaces: dict[str, str] = {}
        """Those that are to go, with their uids."""
        self._guests: list[Guest] = []
        self.services: dict[Key, None] = {}
        self.ingresses: set[Key] = set()
        self.routed: dict[tuple[str, Key], None] = {}
        """Gateways and routes, by kind and key."""
        """Those of the request that are to come."""
        self._seen: dict[Key, Pod] = {}
        self._found: tuple[object, object, Mapping[Key, Pod]] | None = None
        """The pods and ReplicaSets of the last look, and what was found among them."""
        self._selected = _Selected()
        self._everywhere = False
        for obj in objects:
            self.comes(obj)

    def comes(self, obj: Object) -> None:
        """Takes in an object that is created or changed."""
        self._found = None
        self._everywhere = self._everywhere or not isinstance(obj, _OF_ONE_NODE)
        if isinstance(obj, Guest):
            self._guests.append(obj)
        elif isinstance(obj, Service):
            self.services[obj.key] = None
        elif isinstance(obj, Ingress):
            self.ingresses.add(obj.key)
        elif isinstance(obj, Gateway | Route):
            self.routed[obj.KIND, obj.key] = None
        elif isinstance(obj, Pod):
            self._pods[obj.key] = ""
        elif isinstance(obj, MAKERS):
            self._owners.setdefault((obj.KIND, *obj.key), set())

    def goes(self, obj: Object, snapshot: Snapshot) -> None:
        """Takes in an object of the snapshot that is deleted."""
        self._found = None
        self._everywhere = self._everywhere or not isinstance(obj, _OF_ONE_NODE)
        if isinstance(obj, Guest):
            self._guests.append(obj)
        elif isinstance(obj, Pod):
            self._pods[obj.key] = obj.metadata.uid
        elif isinstance(obj, Namespace):
            self._namespaces[obj.name] = obj.metadata.uid
        elif isinstance(obj, MAKERS):
            self._owners.setdefault((obj.KIND, *obj.key), set()).add(obj.metadata.uid)
        self.look(snapshot)

    def look(self, snapshot: Snapshot) -> Mapping[Key, Pod]:
        """The pods that are there and are the request's own: the same mapping for as long as none is another one."""
        pods, sets = snapshot.all(Pod), snapshot.all(ReplicaSet)
        if self._found is not None and self._found[0] is pods and self._found[1] is sets:
            return self._found[2]
        found: dict[Key, Pod] = {}
        for key, uid in self._pods.items():
            pod = pods.get(key)
            if pod is not None and uid in ("", pod.metadata.uid):
                found[key] = pod
        owners = list(self._owners)
        for owner in owners:  # grows meanwhile
            for set_ in self._owned(snapshot, ReplicaSet, owner).values():
                key_of_set = (set_.KIND, *set_.key)
                if key_of_set not in self._owners:
                    owners.append(key_of_set)
                uids = self._owners.setdefault(key_of_set, set())
                if self._owners[owner]:
                    uids.add(set_.metadata.uid)
            found.update(self._owned(snapshot, Pod, owner))
        if self._namespaces:
            found.update((pod.key, pod) for pod in pods.values() if pod.namespace in self._namespaces)
        self._seen.update(found)
        self._found = pods, sets, found
        return found

    def short(self, snapshot: Snapshot) -> list[str]:
        """The request's workloads for which fewer pods were made than they ask for, a few words each; without those
        that are `refused` theirs."""
        lines = []
        for workload in self._workloads(snapshot):
            if _failure(workload):
                continue
            pods = self._pods_of(snapshot, (workload.KIND, *workload.key))
            made = sum(not pod.metadata.deletionTimestamp and (not pod.ended or rejected(pod)) for pod in pods.values())
            if made < (wanted := _wanted(workload)):
                lines.append(f"{_what(workload)}: {made} of {wanted} pods are made")
        return lines

    def ending(self, snapshot: Snapshot) -> list[str]:
        """The request's deleted namespaces that are still there, a few words each."""
        return [
            f"namespace {name}: it is being deleted with all that is in it"
            for name, uid in self._namespaces.items()
            if (namespace := snapshot.get(Namespace, name)) is not None and namespace.metadata.uid == uid
        ]

    def refused(self, snapshot: Snapshot) -> list[str]:
        """The request's workloads whose pods cannot be made, and why."""
        return [f"{_what(one)}: {why}" for one in self._workloads(snapshot) if (why := _failure(one))]

    def _workloads(self, snapshot: Snapshot) -> Iterator[Workload]:
        """Those that are not about to go, and not another one's."""
        for (kind, namespace, name), going in self._owners.items():
            workload = snapshot.all(BY_KIND[kind].type).get((namespace, name))
            if going or not isinstance(workload, Workload) or workload.metadata.ownerReferences:
                continue
            yield workload

    def nodes(self, snapshot: Snapshot) -> frozenset[str] | None:
        """The nodes whose kernels have something of the request; None stands for all."""
        if self._everywhere or self._selected.any(self._seen, snapshot):
            return None
        guests = {node_of_guest(guest, snapshot) for guest in self._guests} - {""}
        return frozenset(guests.union(pod.spec.nodeName for pod in self._seen.values()))

    def _pods_of(self, snapshot: Snapshot, owner: Owner) -> Mapping[Key, Pod]:
        pods = dict(self._owned(snapshot, Pod, owner))
        for set_ in self._owned(snapshot, ReplicaSet, owner).values():
            pods |= self._owned(snapshot, Pod, (set_.KIND, *set_.key))
        return pods

    def _owned(self, snapshot: Snapshot, type_: type[T], owner: Owner) -> Mapping[Key, T]:
        """The objects that name this owner; of one that is to go only those of its own."""
        kind, namespace, name = owner
        owned, uids = snapshot.select(type_, by_owner, (kind, namespace, name)), self._owners.get(owner, set())
        if not uids:
            return owned
        found: dict[Key, T] = {}
        for key, obj in owned.items():
            references = [o.uid for o in obj.metadata.ownerReferences if (o.kind, o.name) == (kind, name)]
            if any(uid in uids or not uid for uid in references):
                found[key] = obj
        return found


class _Selected:
    """Whether a Service selects one of some pods. The one that was found is the answer for as long as it is there;
    asked are only pods that are other ones than before."""

    def __init__(self) -> None:
        self._services: Mapping[Key, Service] = {}
        self._not: dict[Key, Pod] = {}
        self._found: Pod | None = None

    def any(self, pods: Mapping[Key, Pod], snapshot: Snapshot) -> bool:
        services = snapshot.all(Service)
        if services is not self._services:
            self._services, self._not, self._found = services, {}, None
        if self._found is not None and pods.get(self._found.key) is self._found:
            return True
        asked = (pod for key, pod in pods.items() if self._not.get(key) is not pod)
        self._found = next((pod for pod in asked if self._selects(pod, snapshot)), None)
        return self._found is not None

    def _selects(self, pod: Pod, snapshot: Snapshot) -> bool:
        if services_of(pod, snapshot):
            return True
        self._not[pod.key] = pod
        return False


def _wanted(workload: Workload) -> int:
    """How many pods are to be made for it, as far as one can say."""
    match workload:
        case DaemonSet():
            return workload.status.desiredNumberScheduled
        case Job():
            return 0  # those that have ended are made no more
    return workload.spec.replicas


def _what(workload: Workload) -> str:
    return f"{workload.KIND.lower()} {workload.namespace}/{workload.name}"


def _failure(workload: Workload) -> str:
    conditions = workload.status.conditions
    refused = (c.message for c in conditions if (c.type, c.status) == (FAILURE, "True") or c.reason == SET_FAILURE)
    return next(refused, "")
