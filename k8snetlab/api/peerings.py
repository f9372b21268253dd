"""The sessions of BGP that follow from a lab's `bgp`: who speaks with whom on Calico's network.

Source: Calico confd/pkg/backends/calico/client.go, and confd's template of bird.cfg.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from k8snetlab.api.bgp import BGP, BGPPeer
from k8snetlab.api.meta import Labels
from k8snetlab.api.pools import selects

Kind = Literal["node-to-node mesh", "node specific", "global"]
PREFIX: Mapping[Kind, str] = {"node-to-node mesh": "Mesh", "node specific": "Node", "global": "Global"}
"""What the names of BIRD's protocols begin with."""


class Member(msgspec.Struct, frozen=True):
    """A node that runs BIRD. One with a `cluster` (an id in the form of an address) is a route reflector."""

    name: str
    address: str
    labels: Labels
    asNumber: int
    cluster: str = ""


class Peering(msgspec.Struct, frozen=True):
    """A session, as one of its two nodes is told of it: with the node or router `name`, of which it expects `asNumber`.
    A `client` is told of other clients' routes; with `keeps` the next hops of routes stay; what it `allows` is how
    often its own autonomous system may be in an AS path."""

    kind: Kind
    name: str
    address: str
    asNumber: int
    passive: bool = False
    client: bool = False
    keeps: bool = False
    allows: int = 0

    @property
    def protocol(self) -> str:
        """BIRD's name for it."""
        return f"{PREFIX[self.kind]}_{self.address.replace('.', '_').replace(':', '_')}"


def peerings(bgp: BGP, members: Sequence[Member], own: Member, routers: Sequence[Member] = ()) -> tuple[Peering, ...]:
    """Those of `own`, one of the `members`, with others and with `routers`; a peer that is named counts before the
    mesh."""
    found: dict[str, Peering] = {}
    for one in (*_given(bgp, members, own, routers), *_mesh(bgp, members, own)):
        found.setdefault(one.address, one)
    return tuple(found.values())


def busiest(bgp: BGP, members: Sequence[Member]) -> int:
    """The most sessions that a node has of one kind."""
    most = sum(not one.cluster for one in members) - 1 if bgp.nodeToNodeMeshEnabled else 0
    for peer in bgp.peers:
        ends = (_near(peer, members), _far(peer, members))
        most = max(most, *(len([*end]) for end in ends))
    return most


def together(bgp: BGP, members: Sequence[Member]) -> Mapping[str, str]:
    """Who hears of whose routes by nodes alone: of each node the first of those that it is connected with."""
    first = {one.name: one.name for one in members}
    meshed = [one.name for one in members if bgp.nodeToNodeMeshEnabled and not one.cluster]
    pairs = (([*_near(peer, members)], [*_far(peer, members)]) for peer in bgp.peers)
    groups = [meshed, *([one.name for one in (*near, *far)] for near, far in pairs if near and far)]
    for group in groups:
        ones = {first[name] for name in group}
        least = min(ones, default="")
        first = {name: least if one in ones else one for name, one in first.items()}
    return first


def _mesh(bgp: BGP, members: Iterable[Member], own: Member) -> Iterator[Peering]:
    """One of two nodes waits for the other: the one whose address, as text, is less."""
    if not bgp.nodeToNodeMeshEnabled or own.cluster:
        return
    for other in members:
        if other.name != own.name and not other.cluster:
            yield replace(_with(own, other, "node-to-node mesh"), passive=other.address > own.address)


def _given(bgp: BGP, members: Sequence[Member], own: Member, routers: Sequence[Member]) -> Iterator[Peering]:
    for peer in bgp.peers:
        kind: Kind = "node specific" if peer.node or peer.nodeSelector else "global"
        near, far = [*_near(peer, members)], [*_far(peer, members), *_far(peer, routers)]
        if own in near:
            yield from (_with(own, other, kind, peer) for other in far if other.name != own.name)
        if own in far and peer.peerSelector:
            yield from (_with(own, other, "node specific", peer) for other in near if other.name != own.name)


def _with(own: Member, other: Member, kind: Kind, peer: BGPPeer | None = None) -> Peering:
    number = (peer.asNumber if peer else None) or other.asNumber
    client = bool(own.cluster) and number == own.asNumber and other.cluster != own.cluster
    keeps = peer is not None and peer.keepOriginalNextHop and number != own.asNumber
    allows = peer.numAllowedLocalASNumbers if peer and number != own.asNumber else 0
    return Peering(kind, other.name, other.address, number, client=client, keeps=keeps, allows=allows)


def _near(peer: BGPPeer, members: Iterable[Member]) -> Iterator[Member]:
    for one in members:
        if (not peer.node or one.name == peer.node) and selects(peer.nodeSelector or "all()", one.labels):
            yield one


def _far(peer: BGPPeer, members: Iterable[Member]) -> Iterator[Member]:
    for one in members:
        if one.address == peer.peerIP if peer.peerIP else selects(peer.peerSelector, one.labels):
            yield one
