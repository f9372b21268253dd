"""Who speaks a routing protocol with whom, and which routes that must make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from k8snetlab.api.core import Node
from k8snetlab.api.lab import Lab
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import FAMILIES, pick
from k8snetlab.dataplane.names import ETH0, ROUTER, UNDERLAY_BRIDGE
from k8snetlab.dataplane.routing import Route
from k8snetlab.dataplane.rules import Family
from k8snetlab.render.blocks import holders

CALM = 10
"""With more neighbours than this a node's timers are calmer: what each says every second adds up."""


class Speaker(msgspec.Struct, frozen=True):
    """A node, or the router, as its daemons see it in one family: its address on the nodes' link, its pods' subnet
    ("" for the router), the device by which it reaches the others, and those others."""

    name: str
    family: Family
    address: str
    subnet: str
    device: str
    neighbours: tuple[Neighbour, ...] = ()


class Neighbour(msgspec.Struct, frozen=True):
    """Another node, or the router, in one family; `subnet` is its pods', "" for the router."""

    name: str
    address: str
    subnet: str


def speakers(snapshot: Snapshot, name: str) -> Iterator[Speaker]:
    """The node `name`, or the router, once for each family that pods have. Where no daemon makes the routes to pods,
    nodes have nothing to tell but addresses of load balancers, and those to the router alone."""
    for family in FAMILIES:
        everybody = {one.name: one for one in _everybody(snapshot, family)}
        if own := everybody.pop(name, None):
            device = UNDERLAY_BRIDGE if name == ROUTER else ETH0
            meets_all = name == ROUTER or snapshot.lab.spec.network.routed
            others = everybody.values() if meets_all else [everybody[ROUTER]] if ROUTER in everybody else []
            yield Speaker(name, family, own.address, own.subnet, device, tuple(others))


def _everybody(snapshot: Snapshot, family: Family) -> Iterator[Neighbour]:
    """All that speak, the router first; Calico's mesh is of nodes alone."""
    lab = snapshot.lab
    if lab.spec.network.calico:
        yield from (Neighbour(one.name, one.address, "") for one in holders(snapshot).values() if family == "ipv4")
        return
    if (router := pick(lab.spec.underlay.router, family)) and pick(lab.spec.podCIDR, family):
        yield Neighbour(ROUTER, router, "")
    for node in snapshot.all(Node).values():
        address, subnet = pick(node.addresses, family), pick(node.podCIDRs, family)
        if address and subnet and node.network_available:
            yield Neighbour(node.name, address, subnet)


def wanted(snapshot: Snapshot, name: str) -> tuple[Route, ...]:
    """The routes to pods that the daemons of a node, or of the router, must have made, without device and metric.

    `via` is "" where the next hop is a link-local address of the neighbour's: RIPng and OSPFv3 name those.
    """
    network = snapshot.lab.spec.network
    if not network.routed:
        return ()
    if network.calico:
        others = [one for one in holders(snapshot).values() if one.name != name] if name != ROUTER else []
        return tuple(
            Route(held.cidr, via=one.address) for one in others for held in one.led_to if held.pool.vxlanMode == "Never"
        )
    return tuple(
        Route(other.subnet, via=other.address if one.family == "ipv4" or network.backend == "bgp" else "")
        for one in speakers(snapshot, name)
        for other in one.neighbours
        if other.subnet
    )


def lacking(routes: Iterable[Route], held: Iterable[Route]) -> tuple[Route, ...]:
    """Those of `routes`, which are `wanted`, that are not among those held."""
    there = {(route.dst, via) for route in held for via in (route.via, "")}
    return tuple(route for route in routes if (route.dst, route.via) not in there)


def is_calm(lab: Lab, speaker: Speaker) -> bool:
    """Whether timers are to be calmer than the fastest: in a mesh of more than `CALM` neighbours."""
    return lab.spec.network.backend == "bgp" and len(speaker.neighbours) > CALM
