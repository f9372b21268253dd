"""Routers as BGP peers of Calico's nodes.

In a cluster others configure routers. Here a peer of `network.bgp` with an address of a router configures both ends:
the router is of the autonomous system that the first such peer expects. Once a peer names a router all routers of the
lab speak, on their links among each other as well.
"""

from __future__ import annotations

from collections.abc import Mapping

from k8snetlab.api import topology
from k8snetlab.api.lab import Lab
from k8snetlab.api.peerings import Member
from k8snetlab.dataplane.families import pick
from k8snetlab.dataplane.names import ROUTER


def addresses(lab: Lab) -> Mapping[str, str]:
    """The routers' names by their IPv4 addresses, each of which may stand for them. A lab with its defaults."""
    underlay = lab.spec.underlay
    if underlay.links:
        return {end.address: end.name for end in topology.ends(lab) if end.is_router}
    return {address: ROUTER} if (address := pick(underlay.router, "ipv4")) else {}


def named(lab: Lab) -> Mapping[str, int]:
    """The routers that peers name, each with the autonomous system that the first one expects of it."""
    known, found = addresses(lab), dict[str, int]()
    for peer in lab.spec.network.bgp.peers if lab.spec.network.calico else ():
        if peer.peerIP in known and peer.asNumber:
            found.setdefault(known[peer.peerIP], peer.asNumber)
    return found


def speak(lab: Lab) -> bool:
    """Whether routers speak BGP with nodes: a peer names one, and nodes run BIRD."""
    return lab.spec.network.calico and lab.spec.network.routed and bool(named(lab))


def numbers(lab: Lab) -> Mapping[str, int]:
    """The autonomous system of each router: those that no peer names have the next free ones after the lab's."""
    found = dict(named(lab))
    number = lab.spec.network.routing.asNumber
    for name in topology.routers(lab.spec.underlay):
        while name not in found and (number := number + 1) not in found.values():
            found[name] = number
    return found


def members(lab: Lab) -> tuple[Member, ...]:
    """All routers, once for each of their addresses; none where they do not speak."""
    known = numbers(lab) if speak(lab) else {}
    return tuple(Member(name, address, {}, known[name]) for address, name in addresses(lab).items() if name in known)
