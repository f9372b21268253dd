"""node join, node leave, down: a machine comes and goes, and so does its daemon."""

from __future__ import annotations

from typing import Annotated

import msgspec

from k8snetlab.messages.progress import Progress, Warning
from k8snetlab.messages.timeouts import LONG
from k8snetlab.messages.verb import Call, Nothing, Stream


class Joined(msgspec.Struct, frozen=True):
    """This machine as a node, once it is one and all of it stands."""

    node: str
    """Its name."""
    interface: str
    """The device of the nodes' network."""
    address: str
    """Its addresses there, with commas."""
    podCIDR: str
    """Its pods' subnets, with commas."""


class EndQuestion(msgspec.Struct, frozen=True):
    """How long the others are waited for."""

    patience: Annotated[float, msgspec.Meta(ge=0, lt=10**9)] = 0.0
    """In seconds."""


class Leaving(Progress, frozen=True, kw_only=True):
    """How many of the other machines have left."""

    nodes: tuple[str, ...]
    """Those that have not."""


class Stopping(msgspec.Struct, frozen=True):
    """The daemon ends; what is in the kernel and the pods stay as they are."""

    stopping: bool = True
    """Always so."""


class LabGone(msgspec.Struct, frozen=True):
    """Nothing of a lab is left on this machine."""

    lab: str
    """Its name."""
    namespaces: int
    """How many were removed."""
    processes: int
    """How many were ended in them."""


class TakenDown(LabGone, frozen=True, tag_field="type", tag="done"):
    """Nothing of a lab is left on this machine; an event of the stream."""


class Down(msgspec.Struct, frozen=True):
    """What `-o json` prints of labs that were taken down."""

    labs: tuple[LabGone, ...]
    """None where there was no lab."""
    seconds: float
    """That it took."""


class Left(msgspec.Struct, frozen=True):
    """What `-o json` prints of a machine that has left its lab."""

    lab: str
    """The lab's name."""
    node: str
    """The node that the machine was; "" where an interrupted end has left nothing that tells."""
    seconds: float
    """That it took."""


DownEvent = Progress | Leaving | Warning | TakenDown
"""What `down` says, which no daemon does: a lab is taken down with or without one."""

JOINED: Call[Nothing, Joined] = Call("machine", "GET", "machine", Nothing, Joined, silence=LONG)
LEAVE: Call[Nothing, Nothing] = Call("leave", "POST", "leave", Nothing, Nothing, silence=LONG)
END: Stream[EndQuestion, Leaving] = Stream("end", "POST", "end", EndQuestion, Leaving)
STOP: Call[Nothing, Stopping] = Call("stop", "POST", "stop", Nothing, Stopping)
