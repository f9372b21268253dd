"""What can be wrong with whom a Lab's nodes speak BGP with, on Calico's network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from k8snetlab.api import addressing, bgp_routers, pools, valid_bgp_routers
from k8snetlab.api.bgp import BGP, BGPPeer
from k8snetlab.api.defaults import expand, expanded_nodes
from k8snetlab.api.lab import Lab
from k8snetlab.api.peerings import Member, peerings
from k8snetlab.api.problems import Report, dns_label
from k8snetlab.api.words import Path, shorten
from k8snetlab.dataplane.families import pick

_BGP: Path = ("spec", "network", "bgp")
_COMMUNITY = re.compile(r"\d{1,10}(:\d{1,10}){1,2}")
_PART = {2: (1 << 16) - 1, 3: (1 << 32) - 1}
"""The largest number in a community of so many."""


def bgp(report: Report, lab: Lab) -> None:
    given = lab.spec.network.bgp
    if not lab.spec.network.calico:
        _elsewhere(report, lab)
        return
    if given != BGP() and not lab.spec.network.routed:
        report.warn(lab, _BGP, "means nothing: all pools have a vxlanMode, and Felix makes their routes by itself")
    whole = replace(lab, spec=expand(lab.spec))
    _communities(report, lab, given)
    reflectors, peers = [*_reflectors(lab)], [*_peers(whole, given)]
    for path, problem in (*reflectors, *peers, *([] if reflectors or peers else _sessions(lab, given))):
        report.error(lab, path, problem)
    if not peers:
        valid_bgp_routers.routers(report, lab, whole, members(lab))


def _elsewhere(report: Report, lab: Lab) -> None:
    words = f"means nothing with backend {lab.spec.network.backend}; calico has it"
    if lab.spec.network.bgp != BGP():
        report.warn(lab, _BGP, words)
    if lab.spec.network.routing.routes != "classic":
        report.warn(lab, ("spec", "network", "routing", "routes"), words)
    for number, node in enumerate(lab.spec.nodes if isinstance(lab.spec.nodes, tuple) else ()):
        for field, value in (("asNumber", node.asNumber), ("routeReflectorClusterID", node.routeReflectorClusterID)):
            if value:
                report.warn(lab, ("spec", "nodes", number, field), words)


def members(lab: Lab) -> tuple[Member, ...]:
    """The nodes, as far as a lab file tells of them."""
    number = lab.spec.network.routing.asNumber
    return tuple(
        Member(
            entry.name,
            pick(entry.address, "ipv4"),
            {"kubernetes.io/hostname": entry.name, **entry.labels},
            entry.asNumber or number,
            entry.routeReflectorClusterID,
        )
        for entry in expanded_nodes(lab.spec)
    )


def _reflectors(lab: Lab) -> Iterator[tuple[Path, str]]:
    for number, node in enumerate(expanded_nodes(lab.spec)):
        text = node.routeReflectorClusterID
        try:
            right = not text or addressing.address(text).version == 4
        except ValueError:
            right = False
        if not right:
            words = f'"{shorten(text)}" is no cluster id; it has the form of an IPv4 address, as 244.0.0.1'
            yield ("spec", "nodes", number, "routeReflectorClusterID"), words


def _communities(report: Report, lab: Lab, given: BGP) -> None:
    for number, one in enumerate(given.communities):
        if problem := _flaw(one.value):
            report.error(lab, (*_BGP, "communities", number, "value"), problem)
    names = {one.name for one in given.communities}
    for number, told in enumerate(given.prefixAdvertisements):
        path: Path = (*_BGP, "prefixAdvertisements", number)
        try:
            if addressing.parse_network(told.cidr).version != 4:
                report.error(lab, (*path, "cidr"), f"{told.cidr} is IPv6, of which pools have no addresses")
        except ValueError as error:
            report.error(lab, (*path, "cidr"), str(error))
        for place, text in enumerate(told.communities):
            if text not in names and (problem := _flaw(text)):
                report.error(lab, (*path, "communities", place), f"{problem}; nor is it the name of one")


def _flaw(value: str) -> str:
    parts = value.split(":")
    if not _COMMUNITY.fullmatch(value) or any(int(part) > _PART[len(parts)] for part in parts):
        return f'"{shorten(value)}" is no community; 64512:120 is one (16 bits each), or 64512:1:120 (32 bits each)'
    return ""


def _peers(lab: Lab, given: BGP) -> Iterator[tuple[Path, str]]:
    nodes, names = members(lab), set[str]()
    for number, peer in enumerate(given.peers):
        path: Path = (*_BGP, "peers", number)
        for field, problem in (*_flaws(peer), *_strangers(lab, peer, nodes)):
            yield (*path, *([field] if field else [])), problem
        if peer.name in names:
            yield (*path, "name"), f'"{shorten(peer.name)}" names another peer already'
        names |= {peer.name} if peer.name else set()


def _flaws(peer: BGPPeer) -> Iterator[tuple[str, str]]:
    if peer.name and (problem := dns_label(peer.name)):
        yield "name", problem
    if bool(peer.peerIP) == bool(peer.peerSelector):
        yield "", "takes one of peerIP and peerSelector"
    if peer.node and peer.nodeSelector:
        yield "nodeSelector", "goes not together with node; leave one of them out"
    if peer.peerIP and peer.asNumber is None:
        yield "asNumber", "is missing: with peerIP the peer's autonomous system has to be named"
    if peer.peerSelector and peer.asNumber is not None:
        yield "asNumber", "goes not together with peerSelector: nodes have asNumber"
    for field, text in (("nodeSelector", peer.nodeSelector), ("peerSelector", peer.peerSelector)):
        try:
            pools.selects(text or "all()", {})
        except ValueError as error:
            yield field, str(error)


def _strangers(lab: Lab, peer: BGPPeer, nodes: Sequence[Member]) -> Iterator[tuple[str, str]]:
    if peer.node and peer.node not in {one.name for one in nodes}:
        yield "node", f'there is no node "{shorten(peer.node)}"'
    if peer.peerIP and peer.peerIP not in {*(one.address for one in nodes), *bgp_routers.addresses(lab)}:
        yield "peerIP", f'"{shorten(peer.peerIP)}" is the address of no node and no router, which alone run BIRD here'


def _sessions(lab: Lab, given: BGP) -> Iterator[tuple[Path, str]]:
    """A mesh of none, and reflectors without clients."""
    nodes = members(lab)
    if not given.nodeToNodeMeshEnabled and not given.peers and len(nodes) > 1:
        words = "is false, and there are no peers: nobody would tell any node of a route; name peers"
        yield (*_BGP, "nodeToNodeMeshEnabled"), words
        return
    for number, node in enumerate(nodes):
        if node.cluster and not any(one.client for one in peerings(given, nodes, node)):
            words = "is of a reflector without clients: no peer of spec.network.bgp is a session with a node of its AS"
            yield ("spec", "nodes", number, "routeReflectorClusterID"), words
