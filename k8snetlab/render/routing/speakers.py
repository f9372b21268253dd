"""Who speaks a routing protocol with whom, and which routes that must make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from k8snetlab.api.core import Node
from k8snetlab.api.lab import Lab
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import FAMILIES, pick
from k8snetlab.dataplane.routing import Route
from k8snetlab.dataplane.rules import Family

CALM = 10
"""With more neighbours than this a node's timers are calmer: what each says every second adds up."""


class Speaker(msgspec.Struct, frozen=True):
    """A node as its daemons see it in one family: its address on the nodes' link, its pods' subnet, the device it
    reaches the others by, and those others."""

    name: str
    family: Family
    address: str
    subnet: str
    neighbours: tuple[Neighbour, ...] = ()


class Neighbour(msgspec.Struct, frozen=True):
    """Another node in one family; `subnet` is its pods'."""

    name: str
    address: str
    subnet: str


def speakers(snapshot: Snapshot, name: str) -> Iterator[Speaker]:
    """The node `name`, once for each family that its pods have."""
    node = snapshot.node(name)
    others = [other for other in snapshot.all(Node).values() if other.name != name]
    for family in FAMILIES:
        address, subnet = pick(node.addresses, family), pick(node.podCIDRs, family)
        if address and subnet:
            yield Speaker(name, family, address, subnet, tuple(_neighbours(others, family)))


def _neighbours(others: Iterable[Node], family: Family) -> Iterator[Neighbour]:
    for other in others:
        address, subnet = pick(other.addresses, family), pick(other.podCIDRs, family)
        if address and subnet and other.network_available:
            yield Neighbour(other.name, address, subnet)


def wanted(snapshot: Snapshot, name: str) -> tuple[Route, ...]:
    """The routes to the pods of other nodes that the node's daemons must have made, without device and metric.

    `via` is "" where the next hop is a link-local address of the neighbour's: RIPng and OSPFv3 name those.
    """
    network = snapshot.lab.spec.network
    if not network.routed:
        return ()
    return tuple(
        Route(other.subnet, via=other.address if one.family == "ipv4" or network.backend == "bgp" else "")
        for one in speakers(snapshot, name)
        for other in one.neighbours
    )


def lacking(routes: Iterable[Route], held: Iterable[Route]) -> tuple[Route, ...]:
    """Those of `routes`, which are `wanted`, that are not among those held."""
    there = {(route.dst, via) for route in held for via in (route.via, "")}
    return tuple(route for route in routes if (route.dst, route.via) not in there)


def is_calm(lab: Lab, speaker: Speaker) -> bool:
    """Whether timers are to be calmer than the fastest: in a mesh of more than `CALM` neighbours."""
    return lab.spec.network.backend == "bgp" and len(speaker.neighbours) > CALM
