"""guest: programs of the user's own in nodes and pods, how each of them runs, and what it wrote."""

from __future__ import annotations

from typing import Annotated

import msgspec

from k8snetlab.messages.places import Written
from k8snetlab.messages.verb import All, Call, Nothing, OfNode, Stream

WITHIN = 3.0
"""Seconds that `guest list` waits for other machines, whatever is the matter."""


class GuestState(msgspec.Struct, frozen=True, kw_only=True):
    """One guest."""

    name: str
    """Its name."""
    node: str
    """The node on which it is to run, "" while its pod is on none."""
    pod: str
    """NAMESPACE/NAME of the pod it is in, "" for one that is in a node itself."""
    state: str
    """Running; Waiting, between two runs or before the first; Unknown, where its machine does not answer."""
    message: str = ""
    """Why it does not run, or ""."""
    tried: bool = False
    """Whether it was begun already, or could not be."""
    restarts: int = 0
    """How often it was started again."""
    since: str | None = None
    """When this run of it began (RFC 3339), null while it does not run."""
    command: tuple[str, ...] = ()
    """With its arguments."""


class GuestList(msgspec.Struct, frozen=True):
    """The guests of a lab."""

    guests: tuple[GuestState, ...]
    """By name."""


class GuestLog(msgspec.Struct, frozen=True):
    """Whose output is meant, and how much of it."""

    node: str
    """The node on which the guest runs."""
    name: str
    """The guest's."""
    follow: bool = False
    """Go on as it grows, through restarts, until the guest is stopped."""
    tailLines: Annotated[int, msgspec.Meta(ge=-1)] = -1
    """So many lines of the end; -1 for all."""
    previous: bool = False
    """Of the run before the last."""


GUESTS: Call[Nothing, GuestList] = Call("guest list", "GET", "gueststates", Nothing, GuestList, All(WITHIN), group=True)
GUEST_LOGS: Stream[GuestLog, Written] = Stream(
    "guest logs", "GET", "gueststates/{node}/{name}/log", GuestLog, Written, OfNode(), group=True, silence=None
)
