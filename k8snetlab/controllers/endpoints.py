"""Which Services have to be looked at again, and what becomes of their EndpointSlices and Endpoints.

Source: Kubernetes pkg/controller/endpointslice, pkg/controller/endpoint and pkg/controller/endpointslicemirroring.
"""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.core import Endpoints, Node, Pod, Service
from k8snetlab.api.discovery import MANAGED_BY, EndpointSlice
from k8snetlab.api.selection import pods_by_node, services_of, slices_by_service
from k8snetlab.api.snapshot import Change, Key, Snapshot
from k8snetlab.controllers import endpoint_slices, mirroring
from k8snetlab.controllers.changes import NOTHING, Answer, Context, each, remove
from k8snetlab.controllers.endpoint_slices import ZONE

ENDPOINTS_MANAGED_BY = "endpoints.kubernetes.io/managed-by"
_OURS = (endpoint_slices.MANAGER, mirroring.MANAGER)


def reconcile(now: Snapshot, before: Snapshot | None, context: Context = NOTHING) -> Iterator[Answer]:
    memory = context.memory

    def work(key: Key) -> Iterator[Answer]:
        service = now.all(Service).get(key)
        if memory is not None and (service is None or not service.spec.selector):
            memory.forget(key)
        if service is None or service.spec.type == "ExternalName":
            yield from _orphans(key, now, before)
        elif service.spec.selector:
            yield from _without(key, now, mirroring.MANAGER)
            yield from endpoint_slices.sync(service, now, memory)
        elif key in now.all(Endpoints) or _has_ours(key, now):
            yield from _without(key, now, endpoint_slices.MANAGER)
            yield from mirroring.sync(service, now)

    yield from each(_services(now, before), work, now.all(Service).get)


def _services(now: Snapshot, before: Snapshot | None) -> dict[Key, None]:
    keys = dict.fromkeys((*now.changes(Service, before), *now.changes(Endpoints, before)))
    for key in now.changes(EndpointSlice, before):
        for snapshot in (now, before):
            slice_ = snapshot.all(EndpointSlice).get(key) if snapshot else None
            if slice_ and slice_.service_key and slice_.metadata.labels.get(MANAGED_BY) in _OURS:
                keys[slice_.service_key] = None
    pods = dict.fromkeys(now.changes(Pod, before))
    for _, name in now.changes(Node, before):
        if before is not None and _zone(now, name) != _zone(before, name):
            pods.update(dict.fromkeys(now.select(Pod, pods_by_node, name)))
    for key in pods:
        pod, old = now.all(Pod).get(key), before.all(Pod).get(key) if before else None
        keys.update((service.key, None) for p in (pod, old) if p for service in services_of(p, now))
    return keys


def _has_ours(service: Key, now: Snapshot) -> bool:
    slices = now.select(EndpointSlice, slices_by_service, service).values()
    return any(slice_.metadata.labels.get(MANAGED_BY) in _OURS for slice_ in slices)


def _zone(snapshot: Snapshot, node: str) -> str | None:
    found = snapshot.get(Node, node)
    return found.metadata.labels.get(ZONE) if found else None


def _orphans(key: Key, now: Snapshot, before: Snapshot | None) -> Iterator[Change]:
    """What a Service that is no more (or became an ExternalName) leaves behind; slices written by hand stay."""
    for manager in _OURS:
        yield from _without(key, now, manager)
    endpoints = now.all(Endpoints).get(key)
    if endpoints and (ENDPOINTS_MANAGED_BY in endpoints.metadata.labels or (before and key in before.all(Service))):
        yield from remove(endpoints, now)


def _without(key: Key, now: Snapshot, manager: str) -> Iterator[Change]:
    for slice_ in now.select(EndpointSlice, slices_by_service, key).values():
        if slice_.metadata.labels.get(MANAGED_BY) == manager:
            yield from remove(slice_, now)
