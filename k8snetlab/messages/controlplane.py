"""controlplane status: who leads, which API servers and stores there are, and how far nodes are behind."""

from __future__ import annotations

import msgspec

from k8snetlab.messages.verb import All, Call, Nothing


class LeaderState(msgspec.Struct, frozen=True):
    """A Lease by which something leads."""

    name: str
    """Of the Lease, in kube-system."""
    holder: str
    """Who leads, as HOST_UID; "" for nobody."""
    since: str
    """When it took the Lease, as RFC 3339 has it."""
    renewed: str
    """When it last said that it is there."""
    seconds: int
    """For which it leads after that, and nobody else may."""
    transitions: int
    """How often another one took it."""
    late: bool = False
    """Whether its time is over without a renewal, so that nobody leads."""


class ApiServerState(msgspec.Struct, frozen=True):
    """Where pods reach the API."""

    node: str
    """In whose network it listens."""
    address: str
    """ADDRESS:PORT."""
    problem: str = ""
    """Of one in a node of the control plane: why it is not ready, "" where it says that it is."""
    name: str = ""
    """Of such a one, as `process kill` takes it."""


class MemberState(msgspec.Struct, frozen=True):
    """A member of the etcd that is the store, as it says itself."""

    endpoint: str
    """Its URL."""
    leads: bool
    """Whether it is the leader, by Raft."""
    term: int
    """Raft's: which election that was."""
    index: int
    """Raft's: the last entry of its log."""
    revision: int
    """The newest that it has."""
    behind: int
    """Revisions that the newest of all members is before it."""
    problem: str = ""
    """Why it is of no use now, or ""."""
    name: str = ""
    """Of one that the lab itself runs, as `process kill` takes it."""
    node: str = ""
    """Where such a one runs."""


class ComponentState(msgspec.Struct, frozen=True):
    """A scheduler or controller manager of a control plane of the lab's own, or its balancer."""

    name: str
    """As `process kill` takes it."""
    node: str
    """Where it runs."""
    leads: bool
    """Whether it has its Lease."""
    problem: str = ""
    """Why it does nothing, "" where it runs."""


class MachineState(msgspec.Struct, frozen=True):
    """A machine's daemon, in a lab of machines: each serves the API, and one leads."""

    node: str
    """Its name as a node."""
    address: str
    """Where it serves the API, ADDRESS:PORT, "" where it does not."""
    leads: bool
    """Whether it runs scheduler and controllers."""
    revision: int
    """The newest one that came to it from the store."""
    behind: int
    """Revisions that the newest of all machines is before it."""
    problem: str = ""
    """Why it is of no use now, or ""."""


class AgentLag(msgspec.Struct, frozen=True):
    """How far a node's agent is."""

    node: str
    """Whose it is; the router has one, too."""
    revision: int
    """Of the store, up to which the kernel has been looked at; -1 for nothing yet."""
    behind: int
    """Revisions that came since; 0 too where none of them concerns the node."""


class ControlPlane(msgspec.Struct, frozen=True):
    """The control plane, as the daemon that is asked sees it."""

    leaders: tuple[LeaderState, ...]
    """By name."""
    servers: tuple[ApiServerState, ...]
    """The endpoints of the Service kubernetes."""
    store: str
    """embedded or etcd."""
    members: tuple[str, ...]
    """URLs of the store, of the embedded one its file."""
    healthy: bool
    """Whether it answers."""
    etcd: tuple[MemberState, ...]
    """The members, one by one; none of the embedded store."""
    balancer: str
    """ADDRESS:PORT in front of the API servers, "" where there is none."""
    revision: int
    """The newest one that came from it."""
    agents: tuple[AgentLag, ...]
    """The router's first."""
    problem: str
    """Why the store does not answer, or ""."""
    components: tuple[ComponentState, ...] = ()
    """Of a control plane of the lab's own."""
    machines: tuple[MachineState, ...] = ()
    """In a lab of machines, by node."""


CONTROL_PLANE: Call[Nothing, ControlPlane] = Call(
    "controlplane status", "GET", "controlplane", Nothing, ControlPlane, All(within=3.0), group=True
)
