"""What can be wrong with routers as BGP peers of Calico's nodes, and with pools that need them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from k8snetlab.api import bgp_routers, pools, topology
from k8snetlab.api.hearing import Hearing
from k8snetlab.api.lab import Lab
from k8snetlab.api.peerings import Member
from k8snetlab.api.problems import Report
from k8snetlab.api.words import Path

_PEERS: Path = ("spec", "network", "bgp", "peers")


def routers(report: Report, lab: Lab, whole: Lab, nodes: Sequence[Member]) -> None:
    """`whole` is the lab with its defaults; nothing is wrong with its peers themselves."""
    if not bgp_routers.speak(whole):
        for path, problem in _untunnelled(lab):
            report.error(lab, path, problem)
        return
    links = bool(lab.spec.underlay.links)
    hearing = Hearing(lab.spec.network.bgp, nodes, bgp_routers.members(whole))
    flaws = [*_numbers(whole), *_sessions(hearing, nodes), *(_ways(lab, hearing, nodes) if links else ())]
    for path, problem in flaws:
        report.error(lab, path, problem)
    for path, problem in _told_twice(whole, hearing, nodes):
        (report.error if links else report.warn)(lab, path, problem)


def _untunnelled(lab: Lab) -> Iterator[tuple[Path, str]]:
    """Pools whose packets no router knows the way of."""
    if sum(bool(link.nodes) for link in lab.spec.underlay.links) < 2:
        return
    given = lab.spec.network.ipPools
    for number, pool in enumerate(pools.pools(lab)):
        if pool.mode == "Never":
            path: Path = ("spec", "network", "ipPools", number, "vxlanMode") if given else ("spec", "network")
            words = (
                "nodes stand on several links, and routers between know no blocks; have routers as peers "
                "(network.bgp.peers), or CrossSubnet, which has a tunnel there"
            )
            yield path, f"{'is Never, but ' if given else ''}{words}"


def _numbers(lab: Lab) -> Iterator[tuple[Path, str]]:
    """Two routers of one autonomous system would not believe each other's routes."""
    seen, addresses, numbers = dict[int, str](), bgp_routers.addresses(lab), bgp_routers.numbers(lab)
    for at, peer in enumerate(lab.spec.network.bgp.peers):
        name = addresses.get(peer.peerIP, "")
        if name and (other := seen.setdefault(numbers[name], name)) != name:
            words = f"{numbers[name]} is the autonomous system of {other} already; give each router its own"
            yield (*_PEERS, at, "asNumber"), words


def _sessions(hearing: Hearing, nodes: Sequence[Member]) -> Iterator[tuple[Path, str]]:
    for node in nodes:
        found = [one.name for one in hearing.with_routers(node)]
        if len({*found}) < len(found):
            yield _PEERS, f"{node.name} has sessions with two addresses of one router; leave one of them out"


def _ways(lab: Lab, hearing: Hearing, nodes: Sequence[Member]) -> Iterator[tuple[Path, str]]:
    """With several links: a router that hears of a node by others alone leads packets around, or in circles."""
    for node in nodes:
        link = topology.link_of(lab.spec.underlay, node.name)
        if link and not any(one.name in link.routers for one in hearing.with_routers(node)):
            address = topology.router_address(link, link.routers[0]) if link.routers else "its router"
            words = f"{node.name} has no session with a router of its link {link.name}; name {address} as its peer"
            yield _PEERS, words
        for router in topology.routers(lab.spec.underlay):
            if not hearing.reaches_router(router, node):
                words = f"{router} is of the autonomous system of {node.name}, and believes no route to it from others"
                yield _PEERS, f"{words}; give routers numbers of their own"


def _told_twice(lab: Lab, hearing: Hearing, nodes: Sequence[Member]) -> Iterator[tuple[Path, str]]:
    """A router hears of a node's pods by others, too, which name themselves as the way there."""
    addresses = bgp_routers.addresses(lab)
    if not any(hearing.are_together(one, other) for one in nodes for other in nodes if one is not other):
        return
    for number, peer in enumerate(lab.spec.network.bgp.peers):
        own = any(one.asNumber == peer.asNumber for one in nodes)
        if peer.peerIP in addresses and not own and not peer.keepOriginalNextHop:
            words = (
                f"is not said: nodes that hear of each other tell {addresses[peer.peerIP]} of each other's pods too, "
                "with themselves as the way there; say true, or have no mesh (nodeToNodeMeshEnabled: false)"
            )
            yield (*_PEERS, number, "keepOriginalNextHop"), words
