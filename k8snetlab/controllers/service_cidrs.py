"""ServiceCIDRs: that of the lab's own, and what the status of each says.

Source: Kubernetes pkg/controlplane/controller/defaultservicecidr, pkg/controller/servicecidrs.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from msgspec.structs import replace

from k8snetlab.api.addressing import parse_networks, split
from k8snetlab.api.core import Condition
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.networking import FINALIZER, IPAddress, ServiceCIDR, ServiceCIDRSpec
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.changes import Answer, put, with_condition

NAME = "kubernetes"
"""Of the ServiceCIDR that says what the lab's serviceCIDR is."""
_READY = Condition(type="Ready", status="True", message="Kubernetes Service CIDR is ready")
_UNUSED = Condition(
    type="Ready",
    status="False",
    reason="NotUsed",
    message="Services get addresses of the lab's own serviceCIDR alone",
)
_IN_USE = Condition(
    type="Ready",
    status="False",
    reason="Terminating",
    message="There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
)


def reconcile(now: Snapshot, before: Snapshot | None) -> Iterator[Answer]:
    if not (now.changes(Lab, before) or now.changes(ServiceCIDR, before) or _leaving(now)):
        return
    for lab in now.all(Lab).values():
        yield from _own(lab, now.get(ServiceCIDR, NAME))
    for cidr in now.all(ServiceCIDR).values():
        if cidr.metadata.deletionTimestamp:
            yield from _left(cidr, now)
        elif cidr.name != NAME:
            yield from _described(cidr, _UNUSED)


def _leaving(now: Snapshot) -> bool:
    return any(cidr.metadata.deletionTimestamp for cidr in now.all(ServiceCIDR).values())


def _own(lab: Lab, stored: ServiceCIDR | None) -> Iterator[Answer]:
    cidrs = tuple(split(lab.spec.serviceCIDR))
    if stored is not None and stored.metadata.deletionTimestamp:
        return
    if stored is None:
        stored = ServiceCIDR(metadata=ObjectMeta(name=NAME), spec=ServiceCIDRSpec(cidrs=cidrs))
        yield put(stored)
    elif stored.spec.cidrs != cidrs:
        yield ServiceCIDR, stored.key, None
        return
    yield from _described(stored, _READY)


def _described(cidr: ServiceCIDR, condition: Condition) -> Iterator[Answer]:
    new = replace(cidr, status=replace(cidr.status, conditions=with_condition(cidr.status.conditions, condition)))
    if FINALIZER not in cidr.metadata.finalizers:
        finalizers = (*cidr.metadata.finalizers, FINALIZER)
        new = replace(new, metadata=replace(cidr.metadata, finalizers=finalizers))
    if new != cidr:
        yield put(new)


def _left(cidr: ServiceCIDR, now: Snapshot) -> Iterator[Answer]:
    """One that is deleted goes when no address of it is taken, or another ServiceCIDR has them all."""
    if FINALIZER not in cidr.metadata.finalizers:
        return
    others = [one for one in now.all(ServiceCIDR).values() if one is not cidr and not one.metadata.deletionTimestamp]
    covered = [network for one in others for text in one.spec.cidrs for network in parse_networks(text)]
    own = [network for text in cidr.spec.cidrs for network in parse_networks(text)]
    taken = (ip_address(name) for _, name in now.all(IPAddress))
    if any(any(ip in one for one in own) and not any(ip in one for one in covered) for ip in taken):
        conditions = with_condition(cidr.status.conditions, _IN_USE)
        if conditions != cidr.status.conditions:
            yield put(replace(cidr, status=replace(cidr.status, conditions=conditions)))
        return
    finalizers = tuple(one for one in cidr.metadata.finalizers if one != FINALIZER)
    yield put(replace(cidr, metadata=replace(cidr.metadata, finalizers=finalizers)))
