"""Who speaks a routing protocol with whom, and which routes that must make."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from k8snetlab.api import bgp_routers, topology
from k8snetlab.api.core import Node
from k8snetlab.api.hearing import Hearing
from k8snetlab.api.lab import Lab
from k8snetlab.api.link_settings import settings_of
from k8snetlab.api.peerings import Member, peerings
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import FAMILIES, network, parsed, pick
from k8snetlab.dataplane.names import ETH0, OUTSIDE, ROUTER, UNDERLAY_BRIDGE
from k8snetlab.dataplane.routing import Route
from k8snetlab.dataplane.rules import Family
from k8snetlab.render.blocks import Holder, by_felix, holders, tunnelled
from k8snetlab.render.routing.timers import CALM


class Speaker(msgspec.Struct, frozen=True):
    """A node, or a router, as its daemons see it in one family: its address on the nodes' link or its first one, its
    pods' subnet ("" for a router), the devices by which it reaches the others, and those others. `number` is its
    autonomous system. The `first` router tells of the way to the outside, where there are several links."""

    name: str
    family: Family
    address: str
    subnet: str
    devices: tuple[Attached, ...]
    neighbours: tuple[Neighbour, ...] = ()
    number: int = 0
    first: bool = False
    beyond: bool = False
    """It is the host outside, which tells of nothing and learns of pods alone."""


class Attached(msgspec.Struct, frozen=True):
    """A device on a link, the link's network, and (of several links) what OSPF counts for it, 0 for its own choice."""

    device: str
    network: str
    cost: int = 0
    pair: bool = False
    """Two routers stand on the link, and nobody else."""


class Neighbour(msgspec.Struct, frozen=True):
    """Another node, or a router, in one family; `subnet` is its pods', "" for a router. `own` is the address by which
    it is spoken with, `number` its autonomous system."""

    name: str
    address: str
    subnet: str
    own: str = ""
    number: int = 0
    identity: str = ""
    """Its router id, where that may be another of its addresses."""
    protocol: str = ""
    """The name of the session with it, where that does not follow from its address."""
    kind: str = ""
    """What Calico calls the session."""
    near: bool = True
    """Whether it stands on the same link."""


def speakers(snapshot: Snapshot, name: str) -> Iterator[Speaker]:
    """The node `name`, a router, or the host outside, once for each family that pods have.

    Where no daemon makes the routes to pods, nodes have nothing to tell but addresses of load balancers, and those to
    the router alone.
    """
    if not topology.is_beyond_told(snapshot.lab.spec) or name not in (ROUTER, OUTSIDE):
        yield from _within(snapshot, name)
        return
    router = next(_within(snapshot, ROUTER), None)
    if router is not None:
        yield _to_beyond(snapshot.lab, router) if name == ROUTER else _beyond(snapshot.lab, router)


def _to_beyond(lab: Lab, router: Speaker) -> Speaker:
    """The router, which speaks with the host outside, too."""
    host = _beyond(lab, router)
    (near,) = host.neighbours
    other = Neighbour(OUTSIDE, host.address, "", near.address, host.number, host.address)
    device = Attached(OUTSIDE, host.devices[0].network, pair=True)
    return replace(router, devices=(*router.devices, device), neighbours=(*router.neighbours, other))


def _beyond(lab: Lab, router: Speaker) -> Speaker:
    """The host outside, an autonomous system of its own."""
    interface = pick(lab.spec.underlay.outside, "ipv4")
    own, gateway = (text.partition("/")[0] for text in (interface, topology.gateway_beyond(interface)))
    number = lab.spec.network.routing.asNumber + 1 + len(topology.routers(lab.spec.underlay))
    near = Neighbour(ROUTER, gateway, "", own, router.number, router.address)
    device = Attached(ETH0, str(network(interface)), pair=True)
    return Speaker(OUTSIDE, "ipv4", own, "", (device,), (near,), number, beyond=True)


def _within(snapshot: Snapshot, name: str) -> Iterator[Speaker]:
    lab = snapshot.lab
    if lab.spec.network.calico:
        yield from _of_calico(snapshot, name)
        return
    if lab.spec.underlay.links:
        yield from _on_links(snapshot, name)
        return
    for family in FAMILIES:
        everybody = {one.name: one for one in _everybody(snapshot, family)}
        if own := everybody.pop(name, None):
            device = Attached(UNDERLAY_BRIDGE if name == ROUTER else ETH0, _link(lab, family))
            number = lab.spec.network.routing.asNumber
            meets_all = name == ROUTER or lab.spec.network.routed
            others = everybody.values() if meets_all else [everybody[ROUTER]] if ROUTER in everybody else []
            known = tuple(replace(other, own=own.address, number=number) for other in others)
            yield Speaker(name, family, own.address, own.subnet, (device,), known, number)


def _link(lab: Lab, family: Family) -> str:
    cidr = pick(lab.spec.underlay.cidr, family)
    return str(network(cidr)) if cidr else ""


def _on_links(snapshot: Snapshot, name: str) -> Iterator[Speaker]:
    """Neighbours are those on the same links."""
    lab = snapshot.lab
    own = topology.of(lab, name)
    numbers = _numbers(lab)
    subnets = {node.name: pick(node.podCIDRs, "ipv4") for node in snapshot.all(Node).values() if node.network_available}
    if not own or not (own[0].is_router or subnets.get(name)):
        return
    counts = lab.spec.network.backend == "ospf"
    yield Speaker(
        name,
        "ipv4",
        own[0].address,
        subnets.get(name, ""),
        tuple(_attached(end, counts) for end in own),
        tuple(
            Neighbour(
                other.name,
                other.address,
                subnets.get(other.name, ""),
                end.address,
                numbers[other.name],
                topology.of(lab, other.name)[0].address,
            )
            for end in own
            for other in topology.beside(lab, end)
            if other.is_router or subnets.get(other.name)
        ),
        numbers[name],
        name == ROUTER,
    )


def _attached(end: topology.End, counts: bool) -> Attached:
    pair = len(end.link.routers) == 2 and not end.link.nodes
    return Attached(end.device, str(network(end.link.cidr)), end.link.cost if counts else 0, pair)


def _numbers(lab: Lab) -> dict[str, int]:
    """Autonomous systems of several links: nodes have that of the lab, each router one of the next."""
    first = lab.spec.network.routing.asNumber
    routers = {name: first + 1 + at for at, name in enumerate(topology.routers(lab.spec.underlay))}
    return {end.name: routers.get(end.name, first) for end in topology.ends(lab)}


def _of_calico(snapshot: Snapshot, name: str) -> Iterator[Speaker]:
    """A node, or a router that is a peer of nodes."""
    everybody, lab = holders(snapshot), snapshot.lab
    routers = bgp_routers.members(lab)
    if name in {one.name for one in routers}:
        yield _router(lab, name, everybody.values(), routers)
    elif own := everybody.get(name):
        sessions = peerings(lab.spec.network.bgp, [one.bgp for one in everybody.values()], own.bgp, routers)
        others = tuple(
            Neighbour(one.name, one.address, "", own.address, one.asNumber, protocol=one.protocol, kind=one.kind)
            for one in sessions
        )
        yield Speaker(name, "ipv4", own.address, "", (Attached(ETH0, own.link),), others, own.bgp.asNumber)


def _router(lab: Lab, name: str, nodes: Collection[Holder], routers: Sequence[Member]) -> Speaker:
    ends = topology.of(lab, name)
    mine = {one.address: one.asNumber for one in routers if one.name == name}
    known = {one.address: one.asNumber for one in routers}
    devices = tuple(_attached(end, counts=False) for end in ends) or (Attached(UNDERLAY_BRIDGE, _link(lab, "ipv4")),)
    beside = (
        Neighbour(other.name, other.address, "", end.address, known[other.address])
        for end in ends
        for other in topology.beside(lab, end)
        if other.is_router
    )
    hearing = Hearing(lab.spec.network.bgp, [node.bgp for node in nodes], routers)
    sessions = (
        Neighbour(node.name, node.address, "", session.address, node.bgp.asNumber, near=_is_near(node.address, devices))
        for node in nodes
        for session in hearing.with_routers(node.bgp)
        if session.name == name
    )
    first = next(iter(mine))
    return Speaker(name, "ipv4", first, "", devices, (*beside, *sessions), mine[first], bool(ends) and name == ROUTER)


def _is_near(address: str, devices: Iterable[Attached]) -> bool:
    return any(parsed(address) in network(device.network) for device in devices)


def _everybody(snapshot: Snapshot, family: Family) -> Iterator[Neighbour]:
    """All that speak, the router first."""
    lab = snapshot.lab
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
    spec = snapshot.lab.spec.network
    if not spec.routed:
        return ()
    if spec.calico:
        return tuple(_by_bird(snapshot, name))
    if name == OUTSIDE:
        gateways = [other.address for one in speakers(snapshot, name) for other in one.neighbours]
        nodes = snapshot.all(Node).values()
        subnets = [pick(node.podCIDRs, "ipv4") for node in nodes if node.network_available]
        return tuple(Route(subnet, via=via) for via in gateways for subnet in subnets if subnet)
    if snapshot.lab.spec.underlay.links:
        return tuple(_far(snapshot, name))
    return tuple(
        Route(other.subnet, via=other.address if one.family == "ipv4" or spec.backend == "bgp" else "")
        for one in speakers(snapshot, name)
        for other in one.neighbours
        if other.subnet
    )


def _far(snapshot: Snapshot, name: str) -> Iterator[Route]:
    """With several links: straight to pods of nodes beside it, by whomever to others."""
    near = {other.subnet: other.address for one in speakers(snapshot, name) for other in one.neighbours if other.subnet}
    if near or topology.of(snapshot.lab, name):
        for node in snapshot.all(Node).values():
            subnet = pick(node.podCIDRs, "ipv4") if node.network_available else ""
            if subnet and node.name != name:
                yield Route(subnet, via=near.get(subnet, ""))


def equal(snapshot: Snapshot, name: str) -> tuple[Route, ...]:
    """The routes by all ways that are as good, of a node or router with several links, to pods that are not beside it;
    ways by a device that `k8snetlab link` holds down are none."""
    lab = snapshot.lab
    if not lab.spec.underlay.links or not lab.spec.network.routed or lab.spec.network.calico or name == OUTSIDE:
        return ()
    everybody = {end.name for end in topology.ends(lab)}
    down = frozenset(
        (one, device) for one in everybody for device, held in settings_of(snapshot, one).items() if held.down
    )
    own = {end.link.name for end in topology.of(lab, name)}
    found: list[Route] = []
    for link in (one for one in lab.spec.underlay.links if one.nodes and one.name not in own):
        nodes = (node for one in link.nodes if (node := snapshot.get(Node, one)) and node.network_available)
        subnets = [subnet for node in nodes if (subnet := pick(node.podCIDRs, "ipv4"))]
        ways = topology.ways(lab, name, link, down) if subnets else ()
        found += (Route(subnet, via=end.address) for subnet in subnets for end in ways)
    return tuple(found)


def _by_bird(snapshot: Snapshot, name: str) -> Iterator[Route]:
    """Calico's; the next hop is the node itself, or the router that leads to its link, but for those to another
    autonomous system that come by way of somebody: which way that is follows from more than the lab file."""
    everybody, lab = holders(snapshot), snapshot.lab
    hearing = Hearing(lab.spec.network.bgp, [one.bgp for one in everybody.values()], bgp_routers.members(lab))
    own = everybody.pop(name, None)
    mine = {held.cidr for held in own.blocks} if own else set()
    direct = hearing.direct(own.bgp) if own else frozenset()
    for other in everybody.values():
        hop = _hop(own, other, hearing, direct) if own else _from_router(lab, name, other, hearing)
        for held in other.led_to if hop is not None else ():
            if by_felix(lab, held.pool) or held.cidr in mine:
                continue
            if own is None or not hop or own.is_beside(other) or tunnelled(held.pool, own, other):
                yield Route(held.cidr, via=hop or "")
            else:
                yield Route(held.cidr, via=topology.gateway_of(lab.spec.underlay, name))


def _from_router(lab: Lab, name: str, node: Holder, hearing: Hearing) -> str | None:
    """The same of a router."""
    if not hearing.reaches_router(name, node.bgp):
        return None
    link = topology.link_of(lab.spec.underlay, node.name)
    beside = link is not None and any(one.link.name == link.name for one in topology.of(lab, name))
    heard = any(one.name == name for one in hearing.with_routers(node.bgp))
    return node.address if (beside and heard) or hearing.is_heard_alone(name, node.bgp) else ""


def _hop(own: Holder, other: Holder, hearing: Hearing, direct: Collection[str]) -> str | None:
    """By what address a node reaches another one's blocks, "" where that cannot be told, None where it does not."""
    if not hearing.are_together(own.bgp, other.bgp):
        return "" if hearing.reaches(own.bgp, other.bgp) else None
    known = own.bgp.asNumber == other.bgp.asNumber or other.name in direct
    return other.address if known else ""


def lacking(routes: Iterable[Route], held: Iterable[Route]) -> tuple[Route, ...]:
    """Those of `routes`, which are `wanted`, that are not among those held."""
    there = {(route.dst, via) for route in held for via in (route.via, "")}
    return tuple(route for route in routes if (route.dst, route.via) not in there)


def bfd(speaker: Speaker) -> tuple[int, int]:
    """How often BFD says that a node is there, in milliseconds, and after how many such times of silence it is not."""
    return (1000 if len(speaker.neighbours) > CALM else 300), 3
