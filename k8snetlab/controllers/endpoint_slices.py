"""EndpointSlices, and the older Endpoints object, of a Service with a selector.

Source: Kubernetes staging/src/k8s.io/endpointslice (reconciler.go, utils.go), pkg/controller/endpoint
(endpoints_controller.go) and api/v1/endpoints (RepackSubsets).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from msgspec.structs import replace

from k8snetlab.api.core import (
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
    IPFamily,
    Node,
    ObjectReference,
    Pod,
    Service,
    ServicePort,
)
from k8snetlab.api.discovery import (
    MANAGED_BY,
    SERVICE_NAME,
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointSlice,
    EndpointSlicePort,
    ForNode,
    ForZone,
)
from k8snetlab.api.meta import Labels, Object, ObjectMeta
from k8snetlab.api.selection import addressed_pods_of, slices_by_service
from k8snetlab.api.snapshot import Change, Snapshot
from k8snetlab.controllers.changes import put, remove
from k8snetlab.controllers.identity import generated, owned_by

MANAGER = "endpointslice-controller.k8s.io"
ENDPOINTS_LABELS = {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}
HEADLESS = "service.kubernetes.io/headless"
ZONE = "topology.kubernetes.io/zone"
MAX_ENDPOINTS = 100
MAX_ADDRESSES = 1000
"""How many addresses an Endpoints object holds at most."""

Ports = tuple[EndpointSlicePort, ...]
_CONDITIONS = {
    (ready, serving, terminating): EndpointConditions(ready=ready, serving=serving, terminating=terminating)
    for ready in (False, True)
    for serving in (False, True)
    for terminating in (False, True)
}


def sync(service: Service, now: Snapshot) -> Iterator[Change]:
    pods = addressed_pods_of(service, now)
    yield from _slices(service, pods, now)
    yield from _endpoints(service, pods, now)


def families(service: Service) -> tuple[IPFamily, ...]:
    """IP families of a Service; admission fills them in, other clusters' objects may say it by their addresses."""
    if service.spec.ipFamilies:
        return service.spec.ipFamilies
    return tuple("IPv6" if ":" in ip else "IPv4" for ip in service.clusterIPs) or ("IPv4",)


# --- EndpointSlices -------------------------------------------------------------------------------------------------


def _slices(service: Service, pods: list[Pod], now: Snapshot) -> Iterator[Change]:
    mine = [
        s
        for s in now.select(EndpointSlice, slices_by_service, service.key).values()
        if s.metadata.labels.get(MANAGED_BY) == MANAGER
    ]
    labels = {**service.metadata.labels, SERVICE_NAME: service.name, MANAGED_BY: MANAGER}
    if service.spec.clusterIP == "None":
        labels[HEADLESS] = ""
    wanted = set(families(service))
    for family in families(service):
        had = sorted((s for s in mine if s.addressType == family), key=lambda s: s.name)
        groups: dict[Ports, list[Endpoint]] = {}
        for pod in pods:
            endpoint = _endpoint(service, pod, family, now)
            if endpoint:
                groups.setdefault(_ports(service, pod), []).append(endpoint)
        # Pods that have none of the ports stand in a slice of their own, without ports: selected, but not reached.
        if not groups:
            # A Service without endpoints keeps one slice, without ports: it has been looked at.
            groups[()] = []
        yield from arrange(service, family, groups, had, now, labels=labels)
    for slice_ in mine:
        if slice_.addressType not in wanted:
            yield from remove(slice_, now)


def arrange(
    owner: Object,
    family: IPFamily,
    groups: dict[Ports, list[Endpoint]],
    had: list[EndpointSlice],
    now: Snapshot,
    *,
    labels: Labels,
    most: int = MAX_ENDPOINTS,
) -> Iterator[Change]:
    """Slices that hold the endpoints of every set of ports.

    Each endpoint stays in the slice it is in; new ones go where there is room, then into new slices.
    """
    taken = {s.name for s in had}
    for ports, endpoints in groups.items():
        by_address = {endpoint.addresses: endpoint for endpoint in endpoints}
        own = [s for s in had if s.ports == ports] or [s for s in had if s.ports not in groups][:1]
        had = [s for s in had if s not in own]
        contents: list[tuple[EndpointSlice | None, list[Endpoint]]] = []
        for slice_ in own:
            kept = [by_address.pop(e.addresses) for e in slice_.endpoints if e.addresses in by_address]
            contents.append((slice_, kept))
        rest = list(by_address.values())
        for _, kept in contents:
            room = max(0, most - len(kept))
            kept += rest[:room]
            rest = rest[room:]
        contents += [(None, rest[start : start + most]) for start in range(0, len(rest), most)]
        contents = contents or [(None, [])]
        empty = not any(kept for _, kept in contents)
        for number, (old, kept) in enumerate(contents):
            if not kept and not (empty and number == 0):
                yield from remove(old, now) if old else ()
                continue
            new = old or _new_slice(owner, family, taken, now)
            taken.add(new.name)
            metadata = replace(new.metadata, labels=labels, ownerReferences=(owned_by(owner),))
            new = replace(new, metadata=metadata, ports=ports, endpoints=tuple(kept))
            if new != old:
                yield put(new)
    for slice_ in had:
        yield from remove(slice_, now)


def _new_slice(owner: Object, family: IPFamily, taken: set[str], now: Snapshot) -> EndpointSlice:
    slices = now.all(EndpointSlice)
    name = generated(owner.name, taken, family)
    while (owner.namespace, name) in slices:
        taken = taken | {name}
        name = generated(owner.name, taken, family)
    metadata = ObjectMeta(name=name, generateName=f"{owner.name}-", namespace=owner.namespace)
    return EndpointSlice(metadata=metadata, addressType=family)


def _ports(service: Service, pod: Pod) -> Ports:
    ports = []
    for port in service.spec.ports:
        number = target(port, pod)
        if number:
            ports.append(
                EndpointSlicePort(name=port.name, port=number, protocol=port.protocol, appProtocol=port.appProtocol)
            )
    return tuple(ports)


def target(port: ServicePort, pod: Pod) -> int | None:
    """The number of a pod's port that a Service's port leads to; None where its name is none of the pod's."""
    if not isinstance(port.targetPort, str):
        return port.targetPort or port.port
    for container in pod.spec.serving_containers:
        for candidate in container.ports:
            if candidate.name == port.targetPort and candidate.protocol == port.protocol:
                return candidate.containerPort
    return None


def _address(pod: Pod, family: IPFamily) -> str | None:
    return next((ip for ip in pod.ips if (":" in ip) == (family == "IPv6")), None)


def _endpoint(service: Service, pod: Pod, family: IPFamily, now: Snapshot) -> Endpoint | None:
    ip = _address(pod, family)
    if ip is None:
        return None
    terminating = bool(pod.metadata.deletionTimestamp)
    serving = pod.ready
    ready = service.spec.publishNotReadyAddresses or (serving and not terminating)
    node = now.get(Node, pod.spec.nodeName)
    zone = node.metadata.labels.get(ZONE) if node else None
    return Endpoint(
        addresses=(ip,),
        conditions=_CONDITIONS[ready, serving or service.spec.publishNotReadyAddresses, terminating],
        hostname=_hostname(service, pod),
        nodeName=pod.spec.nodeName or None,
        zone=zone,
        hints=_hints(service, pod, zone) if ready else None,
        targetRef=_reference(pod),
    )


def _hints(service: Service, pod: Pod, zone: str | None) -> EndpointHints | None:
    distribution = service.spec.trafficDistribution
    if distribution in ("PreferClose", "PreferSameZone") and zone:
        return EndpointHints(forZones=(ForZone(name=zone),))
    if distribution == "PreferSameNode":
        zones = (ForZone(name=zone),) if zone else ()
        return EndpointHints(forNodes=(ForNode(name=pod.spec.nodeName),), forZones=zones)
    return None


def _hostname(service: Service, pod: Pod) -> str | None:
    own = pod.spec.hostname and pod.spec.subdomain == service.name
    return pod.spec.hostname if own else None


def _reference(pod: Pod) -> ObjectReference:
    return ObjectReference(kind=pod.KIND, name=pod.name, namespace=pod.namespace, uid=pod.metadata.uid)


# --- Endpoints ------------------------------------------------------------------------------------------------------


def _endpoints(service: Service, pods: list[Pod], now: Snapshot) -> Iterator[Change]:
    family = families(service)[0]
    subsets: dict[tuple[EndpointPort, ...], list[tuple[EndpointAddress, bool]]] = {}
    for pod in pods:
        ip = _address(pod, family)
        if ip is None or (pod.metadata.deletionTimestamp and not service.spec.publishNotReadyAddresses):
            continue
        ports = tuple(EndpointPort(name=p.name, port=p.port or 0, protocol=p.protocol) for p in _ports(service, pod))
        if ports or not service.spec.ports:
            address = EndpointAddress(
                ip=ip,
                hostname=_hostname(service, pod) or "",
                nodeName=pod.spec.nodeName or None,
                targetRef=_reference(pod),
            )
            ready = pod.ready or service.spec.publishNotReadyAddresses
            subsets.setdefault(ports, []).append((address, ready))
    old = now.all(Endpoints).get(service.key)
    new = old or Endpoints(metadata=ObjectMeta(name=service.name, namespace=service.namespace))
    labels = {**service.metadata.labels, **ENDPOINTS_LABELS}
    if service.spec.clusterIP == "None":
        labels[HEADLESS] = ""
    new = replace(
        new,
        metadata=replace(new.metadata, labels=labels),
        subsets=tuple(
            EndpointSubset(
                addresses=_sorted(address for address, ready in found if ready),
                notReadyAddresses=_sorted(address for address, ready in found if not ready),
                ports=ports,
            )
            for ports, found in subsets.items()
        ),
    )
    if new != old:
        yield put(new)


def _sorted(addresses: Iterable[EndpointAddress]) -> tuple[EndpointAddress, ...]:
    return tuple(sorted(addresses, key=lambda a: ip_address(a.ip).packed)[:MAX_ADDRESSES])
