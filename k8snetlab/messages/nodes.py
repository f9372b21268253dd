"""pause, resume, misses: what a node's agent and its tunnel do; and, between daemons, how far their agents are."""

from __future__ import annotations

from typing import Annotated

import msgspec

from k8snetlab.messages.progress import Warning
from k8snetlab.messages.timeouts import LONG
from k8snetlab.messages.verb import All, Call, OfNode, Stream


class NodeName(msgspec.Struct, frozen=True):
    """A node by name."""

    node: str
    """Its name."""


class Paused(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is so now."""

    node: str
    """The node."""
    paused: bool
    """Whether nothing is repaired there."""
    warning: str = ""
    """Why something may be repaired nevertheless; left out for nothing."""


class Powered(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is so now."""

    node: str
    """The node."""
    on: bool
    """Whether it has power."""
    since: float = 0.0
    """Of one that has none: since when, in epoch seconds; left out where it has."""
    already: bool = False
    """True where it was so before."""
    warning: str = ""
    """What of it is not up yet, and why; left out for nothing."""


class MissesQuestion(msgspec.Struct, frozen=True):
    """Where to listen."""

    node: str = ""
    """A node's name, "" for all."""


class Listening(msgspec.Struct, frozen=True, tag_field="type", tag="listening"):
    """The first event: from now on nothing is missed."""

    nodes: tuple[str, ...]
    """Those that are listened to."""


class AnsweredMiss(msgspec.Struct, frozen=True, tag_field="type", tag="miss"):
    """What a kernel asked of a tunnel, and what it was told."""

    time: float
    """In epoch seconds."""
    node: str
    """Whose kernel asked."""
    device: str
    """The tunnel."""
    miss: str
    """L3: which hardware address has an IP address? L2: where is a hardware address?"""
    address: str
    """That it asked about."""
    state: str = ""
    """That of the kernel's entry: INCOMPLETE, PROBE …; "" for L2."""
    lladdr: str = ""
    """The hardware address that it was told, "" where nobody knows."""
    dst: str = ""
    """The address of the node that it was told, "" where nobody knows."""
    key: str = ""
    """Where in the store that stands, "" where nobody knows."""
    microseconds: float = 0.0
    """From receiving the question to having answered it."""
    error: str = ""
    """Why the kernel refused the answer, or ""."""


MissEvent = Listening | AnsweredMiss | Warning


class AgentsQuestion(msgspec.Struct, frozen=True):
    """What is to be reached."""

    revision: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Of the store."""


class FailingAgent(msgspec.Struct, frozen=True):
    """An agent that fails."""

    name: str
    """Its node, or "router"."""
    failures: int
    """How often in a row."""
    error: str
    """Why."""
    hint: str
    """What to do, or ""."""
    operation: str
    """What the kernel refused, as the command that it is, or ""."""


class Reached(msgspec.Struct, frozen=True):
    """How far a machine is."""

    revision: int
    """That was asked about."""
    synced: bool
    """Whether all up to it is in the machine's kernel, and its controllers, where they run there, have nothing left to
    write."""
    written: int
    """The newest revision that the machine has written."""
    failing: tuple[FailingAgent, ...] = ()
    """Its agents that fail."""


PAUSE: Call[NodeName, Paused] = Call("pause", "POST", "nodes/{node}/pause", NodeName, Paused, OfNode())
RESUME: Call[NodeName, Paused] = Call("resume", "POST", "nodes/{node}/resume", NodeName, Paused, OfNode())
STOP: Call[NodeName, Powered] = Call("node stop", "POST", "nodes/{node}/stop", NodeName, Powered, silence=LONG)
START: Call[NodeName, Powered] = Call("node start", "POST", "nodes/{node}/start", NodeName, Powered, silence=LONG)
MISSES: Stream[MissesQuestion, MissEvent] = Stream(
    "misses", "GET", "misses", MissesQuestion, MissEvent, OfNode(otherwise=All()), group=True, silence=None
)
AGENTS: Call[AgentsQuestion, Reached] = Call("agents", "GET", "agents", AgentsQuestion, Reached)
