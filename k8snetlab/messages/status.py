"""status: how the lab is, node by node, and what is the matter with it."""

from __future__ import annotations

import msgspec

from k8snetlab.messages.verb import All, Call, Nothing

WITHIN = 3.0
"""Seconds that `status` waits for other machines, whatever is the matter."""


class ManagerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One of the managers that a node's agent consists of: flannel, kube-proxy, …"""

    name: str
    """Its name."""
    error: str = ""
    """Why it fails, or ""; the others go on."""
    hint: str = ""
    """What to do about that, or ""."""
    operation: str = ""
    """What the kernel refused, as the command that it is, or ""."""
    warnings: tuple[str, ...] = ()
    """What else is to be known, a sentence each."""


class AgentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The work of a node's agent."""

    synced: bool
    """Whether the node's kernel is as the objects say."""
    revision: int = -1
    """Of the store, up to which the agent has brought the kernel; -1 for nothing yet."""
    lastSync: float
    """When, in epoch seconds; 0 for never."""
    seconds: float = 0.0
    """That the last sync took."""
    operations: int = 0
    """What it did to the kernel, in steps."""
    error: str = ""
    """Why it fails, or why nothing is known of it, or ""."""
    operation: str = ""
    """What the kernel refused, as the command that it is, or ""."""
    drift: tuple[str, ...] = ()
    """What differs from the objects now, as the commands that would mend it."""
    managers: tuple[ManagerStatus, ...] = ()
    """Its managers, in their order; none before its first sync."""


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A node."""

    name: str
    """Its name."""
    address: str
    """Its addresses, with commas, or ""."""
    podCIDR: str
    """Its pods' subnets, with commas, or ""."""
    ready: bool
    """Its condition Ready."""
    paused: bool
    """Whether nothing is repaired there."""
    pods: int
    """How many are scheduled to it."""
    proxy: str = "iptables"
    """Who writes its rules of Services: iptables, the lab's own kube-proxy, or external, a guest."""
    off: float = 0.0
    """Since when it has no power (epoch seconds); 0 where it has."""
    answers: bool = True
    """False for a node of another machine whose daemon does not answer."""
    agent: AgentStatus
    """Who keeps its kernel."""


class RouterDaemon(msgspec.Struct, frozen=True):
    """A routing daemon of a router's."""

    name: str
    """Its program: bird, zebra, ospfd, …"""
    problem: str
    """Why it does not run, or ""."""


class RouterStatus(msgspec.Struct, frozen=True):
    """A router of a lab with several links."""

    name: str
    """Its name."""
    links: tuple[str, ...]
    """What it stands on, each as the link's name, a space, and its address there."""
    down: tuple[str, ...]
    """Those whose device `k8snetlab link` has taken down, by the link's name."""
    daemons: tuple[RouterDaemon, ...]
    """Its routing daemons; none where routes are static."""


class PodCount(msgspec.Struct, frozen=True):
    """How many pods there are."""

    running: int
    """Those that are ready."""
    total: int
    """All."""


class DaemonStatus(msgspec.Struct, frozen=True):
    """A machine's daemon."""

    pid: int
    """Its process."""
    version: str
    """Of k8snetlab."""
    uptime: float
    """In seconds."""
    longestTurn: float
    """The longest time in seconds in which it answered nobody, of late."""


class KubeletStatus(msgspec.Struct, frozen=True):
    """A machine's second process, which runs the pods' containers."""

    pid: int | None
    """Its process, null where it does not run."""


class StoreHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The store as a machine's daemon sees it."""

    type: str
    """embedded or etcd."""
    insecure: bool
    """Whether everybody who reaches it may write to it."""
    revision: int
    """The newest one that came from it."""
    healthy: bool
    """Whether it answers."""
    age: float | None
    """Seconds since it last answered, null for never."""
    problem: str
    """Why it does not answer, or ""."""


class TaskFailure(msgspec.Struct, frozen=True):
    """A task of the daemon that ended when it should not have, and was begun again."""

    name: str
    """The task's."""
    cause: str
    """The error, in words."""
    since: float
    """The first time in a row, in epoch seconds."""
    at: float
    """The last time, in epoch seconds."""
    times: int
    """How often in a row."""


class ControllerFailure(msgspec.Struct, frozen=True):
    """What a controller fails at, and tries again."""

    controller: str
    """Its name."""
    kind: str
    """Of the object that it concerns, "" for all of its work."""
    namespace: str
    """Of the object, or ""."""
    name: str
    """Of the object, or ""."""
    message: str
    """Why."""
    since: float
    """In epoch seconds."""
    tries: int
    """How often it was tried."""


class MachineStatus(msgspec.Struct, frozen=True):
    """The processes of one of several machines."""

    daemon: DaemonStatus
    """Its daemon."""
    kubelet: KubeletStatus
    """Its second process."""
    store: StoreHealth
    """The store, as it is seen from there."""
    iptables: str
    """Which iptables is used there, nft or legacy."""


class LabStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A lab. In one of several machines what concerns a node comes from its own machine, all else from this one."""

    lab: str
    """Its name."""
    nodes: tuple[NodeStatus, ...]
    """In the order of the store."""
    pods: PodCount
    """Of all nodes."""
    services: int
    """How many there are."""
    daemon: DaemonStatus
    """The one that was asked."""
    kubelet: KubeletStatus
    """The one of the same machine."""
    store: StoreHealth
    """Where the objects are."""
    iptables: str
    """Which iptables the nodes use, nft or legacy."""
    failures: tuple[TaskFailure, ...]
    """What of the daemon failed and was begun again."""
    controllers: tuple[ControllerFailure, ...]
    """What controllers fail at."""
    problems: tuple[str, ...]
    """All that is wrong, in sentences."""
    routers: tuple[RouterStatus, ...] = ()
    """Of a lab with several links, the first one first; none of others."""
    machines: dict[str, MachineStatus] | msgspec.UnsetType = msgspec.UNSET
    """By node, those that answer; in a lab of several machines only."""


STATUS: Call[Nothing, LabStatus] = Call("status", "GET", "status", Nothing, LabStatus, All(WITHIN), group=True)
