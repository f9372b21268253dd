"""Addresses for Services of type LoadBalancer, from the lab's pool.

Source: MetalLB controller/service.go (convergeBalancer), internal/allocator/allocator.go. In a lab whose balancer is a
cloud's the same controller gives them: clouds do that where nobody sees it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address

import msgspec
from msgspec.structs import replace

from k8snetlab.api.addressing import Address
from k8snetlab.api.core import LoadBalancerIngress, LoadBalancerStatus, Node, Service
from k8snetlab.api.lab import Lab
from k8snetlab.api.load_balancer import (
    ADDRESSES,
    ALB,
    ALB_CONTROLLER,
    IP_MODE,
    POOL,
    POOL_NAME,
    SHARING,
    annotation,
    parsed,
)
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.networking import (
    Ingress,
    IngressClass,
    IngressClassSpec,
    IngressLoadBalancerIngress,
    IngressLoadBalancerStatus,
)
from k8snetlab.api.selection import alb_ingresses, balanced, unbalanced
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.controllers.changes import Answer, put, record
from k8snetlab.controllers.correlation import Note

CONTROLLER = "metallb-controller"
DIFFERENT = "current IP for {} not allowed by config, will attempt for new IP assignment: {}"


class Refused(Exception):
    """Why a Service gets no address, in MetalLB's words."""


class _Use(msgspec.Struct):
    """Who has an address: by what key they share it, and which ports are whose."""

    sharing: str
    backend: str
    services: list[str]
    ports: dict[tuple[str, int], str]


class _Addresses:
    """Those of the pool, and who has them."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._ranges = tuple(parsed(text) for text in snapshot.lab.spec.loadBalancer.pool)
        nodes = snapshot.all(Node).values() if snapshot.lab.spec.machines else ()
        self._nodes = {address: node.name for node in nodes for address in node.addresses}
        """Machines come with addresses that the lab file does not know."""
        self._uses: dict[str, _Use] = {}

    def assign(self, service: Service, addresses: Iterable[str]) -> None:
        """Raises Refused."""
        wanted = tuple(addresses)
        if not all(any(ip_address(one) in known for known in self._ranges) for one in wanted):
            raise Refused(f"{_quoted(wanted)} is not allowed in config")
        if len(wanted) > 2:
            raise Refused(f"more than two addresses {_quoted(wanted)}")
        if len(wanted) == 2 and len({":" in one for one in wanted}) == 1:
            raise Refused(f'"{wanted[0]}" "{wanted[1]}" has the same family')
        for one in wanted:
            if problem := self._problem(service, one):
                raise Refused(problem)
        for one in wanted:
            self._take(service, one)

    def allocate(self, service: Service, families: Iterable[int]) -> tuple[str, ...]:
        """The first free one of each family. Raises Refused."""
        found = tuple(one for family in families if (one := self._free(service, family)))
        preferred = service.spec.ipFamilyPolicy == "PreferDualStack"
        if not found or (len(found) < len(tuple(families)) and not preferred):
            raise Refused("no available IPs")
        for one in found:
            self._take(service, one)
        return found

    def reserve(self, ingress: Ingress, address: str) -> bool:
        """Whether the Ingress has it alone now."""
        known = any(ip_address(address) in one for one in self._ranges) if address else False
        if not known or address in self._uses:
            return False
        self._uses[address] = _Use("", "", [f"ingress {_name(ingress)}"], {})
        return True

    def spare(self, ingress: Ingress) -> str:
        """The first address that nobody has, which is the Ingress's now; "" where there is none."""
        addresses = (str(address) for one in self._ranges for address in one)
        found = next((one for one in addresses if one not in self._uses), "")
        return found if self.reserve(ingress, found) else ""

    def _free(self, service: Service, family: int) -> str:
        ranges = (one for one in self._ranges if one.first.version == family)
        addresses = (str(address) for one in ranges for address in one)
        return next((one for one in addresses if not self._problem(service, one)), "")

    def _problem(self, service: Service, address: str) -> str:
        if holder := self._nodes.get(address, ""):
            return f'"{address}" is the address of node {holder}'
        use = self._uses.get(address)
        if use is None:
            return ""
        name = _name(service)
        others = [one for one in use.services if one != name]
        if others and not (use.sharing and (use.sharing, use.backend) == (_sharing(service), _backend(service))):
            used = ",".join(others)
            return f'can\'t change sharing key for "{name}", address also in use by {used}'
        for port in service.spec.ports:
            if use.ports.get((port.protocol, port.port), name) != name:
                return f'port {port.protocol}/{port.port} is already in use on "{address}"'
        return ""

    def _take(self, service: Service, address: str) -> None:
        new = _Use(_sharing(service), _backend(service), [], {})
        use, name = self._uses.setdefault(address, new), _name(service)
        if name not in use.services:
            use.services.append(name)
        use.ports |= {(port.protocol, port.port): name for port in service.spec.ports}


def reconcile(now: Snapshot, before: Snapshot | None) -> Iterator[Answer]:
    """Nothing in a lab without load balancers: statuses are then the user's own."""
    lab = now.lab
    kinds = (Lab, Service, Ingress, IngressClass, *((Node,) if lab.spec.machines else ()))
    if not any(now.changes(kind, before) for kind in kinds):
        return
    if lab.spec.loadBalancer.mode == "none" or not now.all(Lab):
        return
    yield from _cleared(now)
    held = _Addresses(now)
    lacking: list[tuple[Service, str]] = []
    for service in now.select(Service, balanced, True).values():
        lacking += _keep(service, held)
    waiting = [one for one in alb_ingresses(now) if not _holds(one, held)]
    for service, why in lacking:
        yield from _given(service, held, why)
    for ingress in waiting:
        yield from _led(ingress, held)
    if lab.spec.loadBalancer.mode == "cloud" and now.get(IngressClass, ALB) is None:
        yield put(IngressClass(metadata=ObjectMeta(name=ALB), spec=IngressClassSpec(controller=ALB_CONTROLLER)))
    for service in now.select(Service, balanced, True).values():
        if not any(service is one for one, _ in lacking):
            yield from _put(service, _ingress(service, [one.ip for one in service.status.loadBalancer.ingress]))


def _holds(ingress: Ingress, held: _Addresses) -> bool:
    """Whether the Ingress has an address of the pool, which nobody else has."""
    addresses = [one.ip for one in ingress.status.loadBalancer.ingress]
    return len(addresses) == 1 and held.reserve(ingress, addresses[0])


def _led(ingress: Ingress, held: _Addresses) -> Iterator[Answer]:
    """Gives the Ingress an address of its own, as AWS gives each a balancer of its own."""
    address = held.spare(ingress)
    given = (IngressLoadBalancerIngress(ip=address),) if address else ()
    if ingress.status.loadBalancer.ingress == given:
        return
    balancer = IngressLoadBalancerStatus(ingress=given)
    yield put(replace(ingress, status=replace(ingress.status, loadBalancer=balancer)))
    if address:
        yield record(ingress, Note(ingress, "Normal", "SuccessfullyReconciled", "Successfully reconciled", "ingress"))


def _cleared(now: Snapshot) -> Iterator[Answer]:
    """A Service that is of another type now has no address any more."""
    for service in now.select(Service, unbalanced, True).values():
        yield from _put(service, ())


def _keep(service: Service, held: _Addresses) -> Iterator[tuple[Service, str]]:
    """The Service if it needs another address than it has, and why its own is not allowed ("" where it has none)."""
    addresses = tuple(one.ip for one in service.status.loadBalancer.ingress)
    if not addresses or not all(addresses):
        yield service, ""
        return
    try:
        wanted = _wanted(service)
        if wanted and set(wanted) != {*addresses}:
            yield service, ""
            return
        if not wanted and {":" in one for one in addresses} - {family == 6 for family in _families(service)}:
            yield service, ""
            return
        held.assign(service, addresses)
    except Refused as refused:
        yield service, str(refused)


def _given(service: Service, held: _Addresses, why: str) -> Iterator[Answer]:
    name = _name(service)
    if why:
        yield record(service, _note(service, "ClearAssignment", DIFFERENT.format(f'"{name}"', why)))
    try:
        addresses = _allocated(service, held)
    except Refused:
        yield from _put(service, ())  # why is told by who asks for `failures`: an Event needs no write here
        return
    yield from _put(service, _ingress(service, addresses))
    yield record(service, _note(service, "IPAllocated", f"Assigned IP {_quoted(addresses)}"))


def _allocated(service: Service, held: _Addresses) -> tuple[str, ...]:
    wanted, pool = _wanted(service), annotation(service.metadata.annotations, POOL)
    if pool not in ("", POOL_NAME):
        raise Refused(f'unknown pool "{pool}"')
    if wanted:
        if {":" in one for one in wanted} != {family == 6 for family in _families(service)}:
            text = _quoted(wanted)
            raise Refused(f"requested loadBalancer IP(s) {text} does not match the ipFamily of the service")
        held.assign(service, wanted)
        return wanted
    return held.allocate(service, _families(service))


def failures(snapshot: Snapshot) -> dict[Key, str]:
    """The Services of ours that get no address, and why."""
    if snapshot.lab.spec.loadBalancer.mode == "none":
        return {}
    held = _Addresses(snapshot)
    lacking = [one for service in snapshot.select(Service, balanced, True).values() for one, _ in _keep(service, held)]
    found: dict[Key, str] = {}
    for ingress in alb_ingresses(snapshot):
        _holds(ingress, held)
    for service in lacking:
        try:
            _allocated(service, held)
        except Refused as refused:
            found[service.key] = str(refused)
    return found


def failed(service: Service, why: str) -> Note:
    """What an Event tells of it."""
    message = f'Failed to allocate IP for "{_name(service)}": {why}'
    return Note(service, "Warning", "AllocationFailed", message, CONTROLLER)


def _wanted(service: Service) -> tuple[str, ...]:
    """What it asks for itself. Raises Refused."""
    text, field = annotation(service.metadata.annotations, ADDRESSES), service.spec.loadBalancerIP
    if text and field:
        raise Refused("service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP")
    found: list[Address] = []
    for part in (text or field).split(",") if text or field else ():
        try:
            found.append(ip_address(part.strip()))
        except ValueError:
            where = "metallb.io/loadBalancerIPs" if text else "spec.loadBalancerIP"
            raise Refused(f'invalid {where}: "{text or field}"') from None
    return tuple(map(str, found))


def _families(service: Service) -> tuple[int, ...]:
    """4, 6, or both, in the order of its cluster IPs."""
    return tuple(6 if ":" in one else 4 for one in service.clusterIPs)


def _ingress(service: Service, addresses: Iterable[str]) -> tuple[LoadBalancerIngress, ...]:
    proxies = service.metadata.annotations.get(IP_MODE) == "Proxy"
    return tuple(LoadBalancerIngress(ip=one, ipMode="Proxy" if proxies else "VIP") for one in addresses)


def _put(service: Service, ingress: tuple[LoadBalancerIngress, ...]) -> Iterator[Answer]:
    if service.status.loadBalancer.ingress != ingress:
        balancer = LoadBalancerStatus(ingress=ingress)
        yield put(replace(service, status=replace(service.status, loadBalancer=balancer)))


def _note(service: Service, reason: str, message: str) -> Note:
    return Note(service, "Normal", reason, message, CONTROLLER)


def _sharing(service: Service) -> str:
    return annotation(service.metadata.annotations, SHARING)


def _backend(service: Service) -> str:
    """What has to be the same of two Services with one address: with Local they must lead to the same pods."""
    if service.spec.externalTrafficPolicy != "Local":
        return ""
    selector: Mapping[str, str] = service.spec.selector or {}
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))


def _name(obj: Service | Ingress) -> str:
    return f"{obj.namespace}/{obj.name}"


def _quoted(addresses: Iterable[str]) -> str:
    """As Go's %q writes a list."""
    return "[" + " ".join(f'"{one}"' for one in addresses) + "]"
