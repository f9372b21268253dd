"""Which of Calico's nodes and routers hear of whose blocks, as far as sessions and autonomous systems decide that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from k8snetlab.api.bgp import BGP
from k8snetlab.api.peerings import Member, Peering, peerings, together


class Hearing:
    """Of the nodes `members` with `routers`, which reach each other."""

    def __init__(self, bgp: BGP, members: Sequence[Member], routers: Sequence[Member] = ()) -> None:
        self._bgp, self._members, self._group = bgp, members, together(bgp, members)
        self._numbers = {one.name: one.asNumber for one in routers}
        given = replace(bgp, nodeToNodeMeshEnabled=False)
        self._sessions: Mapping[str, tuple[Peering, ...]] = {
            one.name: tuple(s for s in peerings(given, members, one, routers) if s.name in self._numbers)
            for one in (members if routers else ())
        }

    def with_routers(self, own: Member) -> tuple[Peering, ...]:
        """The sessions that a node has with routers."""
        return self._sessions.get(own.name, ())

    def direct(self, own: Member) -> frozenset[str]:
        """The nodes that one has a session with."""
        return frozenset(one.name for one in peerings(self._bgp, self._members, own))

    def are_together(self, own: Member, other: Member) -> bool:
        """Whether one node hears of the other by nodes alone."""
        return self._group[own.name] == self._group[other.name]

    def reaches(self, own: Member, other: Member) -> bool:
        """Whether a node hears of the other by routers. It believes no AS path with its own system, unless told to."""
        mine = self.with_routers(own)
        return bool(mine) and any(
            own.asNumber not in (other.asNumber, one.asNumber) or any(session.allows for session in mine)
            for one in self._tellers(other)
        )

    def reaches_router(self, router: str, node: Member) -> bool:
        """Whether a router hears of a node's blocks."""
        number = self._numbers.get(router)
        return number is not None and any(
            number not in (node.asNumber, one.asNumber) or any(s.name == router for s in self.with_routers(one))
            for one in self._tellers(node)
        )

    def is_heard_alone(self, router: str, node: Member) -> bool:
        """Whether a router hears of a node's blocks by the node, and by nobody else."""
        return [*self._tellers(node)] == [node] and any(s.name == router for s in self.with_routers(node))

    def _tellers(self, node: Member) -> Iterator[Member]:
        """Those that tell routers of a node's blocks."""
        group = self._group[node.name]
        yield from (one for one in self._members if self._group[one.name] == group and self.with_routers(one))
