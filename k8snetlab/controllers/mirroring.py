"""EndpointSlices out of Endpoints that a person wrote for a Service without selector.

Source: Kubernetes pkg/controller/endpointslicemirroring (reconciler.go, utils.go).
"""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.core import EndpointAddress, Endpoints, IPFamily, Service
from k8snetlab.api.discovery import (
    MANAGED_BY,
    SERVICE_NAME,
    SKIP_MIRROR,
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    EndpointSlicePort,
)
from k8snetlab.api.selection import slices_by_service
from k8snetlab.api.snapshot import Change, Snapshot
from k8snetlab.controllers.changes import remove
from k8snetlab.controllers.endpoint_memory import Ports
from k8snetlab.controllers.endpoint_slices import arrange

MANAGER = "endpointslicemirroring-controller.k8s.io"
MAX_ENDPOINTS = 1000
_FAMILIES: tuple[IPFamily, ...] = ("IPv4", "IPv6")
_READY, _NOT_READY = EndpointConditions(ready=True), EndpointConditions(ready=False)


def sync(service: Service, now: Snapshot) -> Iterator[Change]:
    endpoints = now.all(Endpoints).get(service.key)
    mine = [
        s
        for s in now.select(EndpointSlice, slices_by_service, service.key).values()
        if s.metadata.labels.get(MANAGED_BY) == MANAGER
    ]
    if endpoints is None or endpoints.metadata.labels.get(SKIP_MIRROR) == "true":
        for slice_ in mine:
            yield from remove(slice_, now)
        return
    labels = {**endpoints.metadata.labels, SERVICE_NAME: service.name, MANAGED_BY: MANAGER}
    for family in _FAMILIES:
        had = sorted((s for s in mine if s.addressType == family), key=lambda s: s.name)
        groups = _groups(endpoints, family)
        if groups or had:
            yield from arrange(endpoints, family, groups, had, now, labels=labels, most=MAX_ENDPOINTS)


def _groups(endpoints: Endpoints, family: IPFamily) -> dict[Ports, list[Endpoint]]:
    groups: dict[Ports, list[Endpoint]] = {}
    for subset in endpoints.subsets:
        ports = tuple(EndpointSlicePort(name=p.name, port=p.port, protocol=p.protocol) for p in subset.ports)
        for addresses, conditions in ((subset.addresses, _READY), (subset.notReadyAddresses, _NOT_READY)):
            found = [_endpoint(a, conditions) for a in addresses if (":" in a.ip) == (family == "IPv6")]
            if found:
                groups.setdefault(ports, []).extend(found)
    return groups


def _endpoint(address: EndpointAddress, conditions: EndpointConditions) -> Endpoint:
    return Endpoint(
        addresses=(address.ip,),
        conditions=conditions,
        hostname=address.hostname or None,
        nodeName=address.nodeName,
        targetRef=address.targetRef,
    )
