"""routing: what a node's routing daemons know: neighbours, learned routes, and what is missing."""

from __future__ import annotations

import msgspec

from k8snetlab.messages.verb import Call, Here


class RoutingQuestion(msgspec.Struct, frozen=True):
    """Whose daemons are meant."""

    node: str = ""
    """A node, or router; "" for all."""


class RoutingNeighbour(msgspec.Struct, frozen=True):
    """A neighbour of a node's daemon."""

    name: str
    """The node that it is, or router; "" for one that is neither."""
    address: str
    """Its address, or its router id."""
    state: str
    """The protocol's own word: Established, Active, Full/DR, …; "heard" for RIP, which has no sessions; "" for a
    neighbour of which the daemon knows nothing."""
    established: bool
    """Whether it tells of its routes."""
    info: str
    """What else the daemon says of it, or ""."""
    since: str = ""
    """When that began, as the daemon writes it, or ""."""
    kind: str = ""
    """Calico's word for the session: node-to-node mesh, node specific or global; "" with other backends."""
    bfd: str = ""
    """The state of BFD's session with it (up, down, init), "" without BFD."""


class LearnedRoute(msgspec.Struct, frozen=True):
    """A route that a daemon made in the kernel."""

    dst: str
    """Where it leads, as a CIDR."""
    via: str
    """The next hop."""
    dev: str
    """The device by which it leaves."""
    metric: int
    """As the kernel has it."""
    pods: str
    """The node whose pods it leads to, or ""."""


class RoutingNode(msgspec.Struct, frozen=True):
    """A node, or the router."""

    name: str
    """Its name."""
    daemon: str
    """bird or frr."""
    neighbours: tuple[RoutingNeighbour, ...]
    """Those that it should have, and others that its daemon has heard."""
    routes: tuple[LearnedRoute, ...]
    """What its daemon made."""
    missing: tuple[str, ...]
    """The pods' subnets of other nodes to which no route was made."""
    problem: str = ""
    """Why its daemon could not be asked, or ""."""


class RoutingView(msgspec.Struct, frozen=True):
    """The routing of a lab."""

    protocol: str
    """bgp, ospf, rip or calico."""
    nodes: tuple[RoutingNode, ...]
    """The router first."""


ROUTING: Call[RoutingQuestion, RoutingView] = Call(
    "routing", "GET", "routing", RoutingQuestion, RoutingView, Here(), group=True
)
