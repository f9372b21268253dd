"""An underlay of several links with routers between: who stands on which, by which address, and the shortest ways.

Every link is a network of its own. Its routers have its first addresses, in their order, the first of them is where its
nodes send what they have no route for. The lab's own router, `router`, is one of them.
"""

from __future__ import annotations

import functools
import heapq
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, ip_interface, ip_network
from typing import NamedTuple

from k8snetlab.api.lab import Lab, LabSpec, Underlay, UnderlayLink
from k8snetlab.dataplane.families import network, pick
from k8snetlab.dataplane.names import ETH0, OUTSIDE, ROUTER


class End(NamedTuple):
    """Where a router or a node stands on a link: the link, its own address there, and the device by which it does."""

    link: UnderlayLink
    name: str
    address: str
    device: str

    @property
    def length(self) -> int:
        return ip_network(self.link.cidr).prefixlen

    @property
    def is_router(self) -> bool:
        return self.name in self.link.routers


def routers(underlay: Underlay) -> tuple[str, ...]:
    """All, the lab's own first; none but that where there is one link."""
    return (ROUTER, *(name for name in underlay.routers if name != ROUTER)) if underlay.links else (ROUTER,)


def router_address(link: UnderlayLink, router: str) -> str:
    return str(ip_network(link.cidr)[1 + link.routers.index(router)])


def is_beyond_told(spec: LabSpec) -> bool:
    """Whether the host outside has a routing daemon, too."""
    network = spec.network
    return network.routing.outside and network.routed and not network.calico


def beside_nodes(spec: LabSpec) -> tuple[str, ...]:
    """Who may have a routing daemon beside nodes: the routers, and the host outside where it has one."""
    return (*routers(spec.underlay), *((OUTSIDE,) if is_beyond_told(spec) else ()))


def gateway_beyond(outside: str) -> str:
    """The router's own address in the outside host's network, with its length: the first one, or the second where that
    is the host's."""
    interface = ip_interface(outside)
    first = interface.network.network_address + 1
    return f"{first if first != interface.ip else first + 1}/{interface.network.prefixlen}"


def link_of(underlay: Underlay, node: str) -> UnderlayLink | None:
    """The link that a node stands on."""
    return next((link for link in underlay.links if node in link.nodes), None)


def gateway_of(underlay: Underlay, node: str) -> str:
    """Where a node sends what it has no route for; "" where there is one link for all."""
    link = link_of(underlay, node)
    return router_address(link, link.routers[0]) if link else ""


def ends(lab: Lab) -> tuple[End, ...]:
    """Of all links, routers first. A lab with its defaults."""
    nodes = () if isinstance(lab.spec.nodes, int) else lab.spec.nodes
    return _ends(lab.spec.underlay, tuple((node.name, node.address) for node in nodes))


@functools.lru_cache(maxsize=64)
def _ends(underlay: Underlay, nodes: tuple[tuple[str, str], ...]) -> tuple[End, ...]:
    found: list[End] = []
    given = dict(nodes)
    for link in underlay.links:
        found += (End(link, name, router_address(link, name), link.name) for name in link.routers)
        found += (End(link, name, given[name], ETH0) for name in link.nodes if given.get(name))
    return tuple(found)


def of(lab: Lab, name: str) -> tuple[End, ...]:
    """The ends of a router or a node."""
    return tuple(end for end in ends(lab) if end.name == name)


def beside(lab: Lab, end: End) -> Iterator[End]:
    """The others on its link."""
    yield from (other for other in ends(lab) if other.link.name == end.link.name and other.name != end.name)


def shares_link(underlay: Underlay, one: str, other: str) -> bool:
    """Whether two nodes stand on the same link."""
    return link_of(underlay, one) is link_of(underlay, other)


def network_of(underlay: Underlay, node: str) -> str:
    """The IPv4 network that a node's address is of: its link's, or that of all nodes; "" where there is none."""
    link = link_of(underlay, node)
    cidr = link.cidr if link else pick(underlay.cidr, "ipv4")
    return str(network(cidr)) if cidr else ""


def addressed(spec: LabSpec, name: str) -> IPv4Network | None:
    """The network that a node's address is of, where links have one each; None for one that cannot be read."""
    link = link_of(spec.underlay, name)
    try:
        return IPv4Network(link.cidr) if link else None
    except ValueError:
        return None


def distances(lab: Lab, start: str) -> Mapping[str, int]:
    """What the cheapest way from a router to each router costs. Nodes forward nothing for others."""
    costs, queue = {start: 0}, [(0, start)]
    while queue:
        cost, name = heapq.heappop(queue)
        if cost > costs[name]:
            continue
        for end in of(lab, name):
            for other in beside(lab, end):
                further = cost + end.link.cost
                if other.is_router and further < costs.get(other.name, further + 1):
                    costs[other.name] = further
                    heapq.heappush(queue, (further, other.name))
    return costs


def next_hop(lab: Lab, router: str, goals: tuple[str, ...]) -> End | None:
    """The neighbour by which a router reaches one of other routers, by a cheapest way, the first of several; None where
    there is none."""
    costs = [distances(lab, goal) for goal in goals]
    found: tuple[int, End] | None = None
    for end in of(lab, router):
        for other in beside(lab, end):
            rests = [known[other.name] for known in costs if other.name in known]
            cost = end.link.cost + min(rests) if rests and other.is_router else None
            if cost is not None and (found is None or cost < found[0]):
                found = cost, other
    return found[1] if found else None


def ways(lab: Lab, start: str, link: UnderlayLink, down: frozenset[tuple[str, str]]) -> tuple[End, ...]:
    """The neighbours by which a router or a node reaches a link that it is not on: by all cheapest ways, of which none
    passes a device that is `down`, (name, device). OSPF counts costs, other protocols routers."""
    usable = tuple(end for end in ends(lab) if (end.name, end.device) not in down)
    if any(end.name == start and end.link.name == link.name for end in usable):
        return ()
    counted = lab.spec.network.backend == "ospf"
    goals = [end.name for end in usable if end.link.name == link.name and end.is_router]
    found: list[tuple[int, End]] = []
    for own in (end for end in usable if end.name == start):
        near = [end for end in usable if end.link.name == own.link.name and end.is_router and end.name != start]
        for other in near:
            rests = [cost for goal in goals if (cost := _far(usable, counted, goal).get(other.name)) is not None]
            if rests:
                found.append(((own.link.cost if counted else 1) + min(rests), other))
    least = min((cost for cost, _ in found), default=0)
    return tuple(end for cost, end in found if cost == least)


@functools.lru_cache(maxsize=256)
def _far(usable: tuple[End, ...], counted: bool, start: str) -> Mapping[str, int]:
    """As `distances`, by these ends alone."""
    routers = [end for end in usable if end.is_router]
    costs, queue = {start: 0}, [(0, start)]
    while queue:
        cost, name = heapq.heappop(queue)
        on = {end.link.name for end in routers if end.name == name} if cost == costs[name] else set[str]()
        for end in routers:
            further = cost + (end.link.cost if counted else 1)
            if end.link.name in on and further < costs.get(end.name, further + 1):
                costs[end.name] = further
                heapq.heappush(queue, (further, end.name))
    return costs
