"""EndpointSlices, and the older Endpoints object, of a Service with a selector.

Source: Kubernetes staging/src/k8s.io/endpointslice (reconciler.go, utils.go), pkg/controller/endpoint
(endpoints_controller.go) and api/v1/endpoints (RepackSubsets).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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
from k8snetlab.api.selection import near_pods_of, slices_by_service
from k8snetlab.api.snapshot import Change, Snapshot
from k8snetlab.controllers.changes import put, remove
from k8snetlab.controllers.endpoint_memory import EndpointMemory, Member, Ports, order
from k8snetlab.controllers.identity import generated, owned_by

MANAGER = "endpointslice-controller.k8s.io"
ENDPOINTS_LABELS = {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}
HEADLESS = "service.kubernetes.io/headless"
ZONE = "topology.kubernetes.io/zone"
MAX_ENDPOINTS = 100
MAX_ADDRESSES = 1000
"""How many addresses an Endpoints object holds at most."""

_CONDITIONS = {
    (ready, serving, terminating): EndpointConditions(ready=ready, serving=serving, terminating=terminating)
    for ready in (False, True)
    for serving in (False, True)
    for terminating in (False, True)
}


def sync(service: Service, now: Snapshot, memory: EndpointMemory | None = None) -> Iterator[Change]:
    """`memory`, where it is given, knows the pods that are as they were."""
    zones = {name: node.metadata.labels.get(ZONE) for (_, name), node in now.all(Node).items()}
    memory, near, stored = memory or EndpointMemory(), near_pods_of(service, now), _stored(service, now)
    if memory.is_done(service, near, zones, stored):
        return
    members = memory.members(service, near, zones, _member)
    changes = [*_slices(service, members, now), *_endpoints(service, members, now)]
    for type_, (_, name), obj in changes:
        if isinstance(obj, EndpointSlice | Endpoints):
            stored[type_.KIND, name] = obj
        else:
            stored.pop((type_.KIND, name), None)
    memory.done(service.key, stored)
    yield from changes


def _stored(service: Service, now: Snapshot) -> dict[tuple[str, str], EndpointSlice | Endpoints]:
    """Its slices that are this controller's, and its Endpoints, by kind and name."""
    found: dict[tuple[str, str], EndpointSlice | Endpoints] = {(s.KIND, s.name): s for s in _own(service, now)}
    if (endpoints := now.all(Endpoints).get(service.key)) is not None:
        found[endpoints.KIND, endpoints.name] = endpoints
    return found


def _own(service: Service, now: Snapshot) -> list[EndpointSlice]:
    slices = now.select(EndpointSlice, slices_by_service, service.key).values()
    return [slice_ for slice_ in slices if slice_.metadata.labels.get(MANAGED_BY) == MANAGER]


def families(service: Service) -> tuple[IPFamily, ...]:
    """IP families of a Service; admission fills them in, other clusters' objects may say it by their addresses."""
    if service.spec.ipFamilies:
        return service.spec.ipFamilies
    return tuple("IPv6" if ":" in ip else "IPv4" for ip in service.clusterIPs) or ("IPv4",)


# --- EndpointSlices -------------------------------------------------------------------------------------------------


def _slices(service: Service, members: list[Member], now: Snapshot) -> Iterator[Change]:
    mine = _own(service, now)
    labels = {**service.metadata.labels, SERVICE_NAME: service.name, MANAGED_BY: MANAGER}
    if service.spec.clusterIP == "None":
        labels[HEADLESS] = ""
    wanted = set(families(service))
    for family in families(service):
        had = sorted((s for s in mine if s.addressType == family), key=lambda s: s.name)
        groups: dict[Ports, list[Endpoint]] = {}
        for member in members:
            if (endpoint := member.endpoints.get(family)) is not None:
                groups.setdefault(member.ports, []).append(endpoint)
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


def _member(service: Service, pod: Pod, zone: str | None) -> Member:
    ports = _ports(service, pod)
    addresses = {family: ip for family in families(service) if (ip := _address(pod, family))}
    endpoints = {family: _endpoint(service, pod, ip, zone) for family, ip in addresses.items()}
    ip, unready = addresses.get(families(service)[0]), service.spec.publishNotReadyAddresses
    going = pod.metadata.deletionTimestamp and not unready
    if ip is None or going or not (ports or not service.spec.ports):
        return Member(pod, zone, ports, endpoints)
    return Member(
        pod,
        zone,
        ports,
        endpoints,
        EndpointAddress(
            ip=ip,
            hostname=_hostname(service, pod) or "",
            nodeName=pod.spec.nodeName or None,
            targetRef=_reference(pod),
        ),
        tuple(EndpointPort(name=p.name, port=p.port or 0, protocol=p.protocol) for p in ports),
        order(ip),
        pod.ready or unready,
    )


def _endpoint(service: Service, pod: Pod, ip: str, zone: str | None) -> Endpoint:
    terminating = bool(pod.metadata.deletionTimestamp)
    serving = pod.ready
    ready = service.spec.publishNotReadyAddresses or (serving and not terminating)
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


def _endpoints(service: Service, members: list[Member], now: Snapshot) -> Iterator[Change]:
    subsets: dict[tuple[EndpointPort, ...], list[Member]] = {}
    for member in members:
        if member.address is not None:
            subsets.setdefault(member.address_ports, []).append(member)
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
                addresses=_sorted(member for member in found if member.ready),
                notReadyAddresses=_sorted(member for member in found if not member.ready),
                ports=ports,
            )
            for ports, found in subsets.items()
        ),
    )
    if new != old:
        yield put(new)


def _sorted(members: Iterable[Member]) -> tuple[EndpointAddress, ...]:
    kept = sorted(members, key=lambda member: member.order)[:MAX_ADDRESSES]
    return tuple(member.address for member in kept if member.address)
