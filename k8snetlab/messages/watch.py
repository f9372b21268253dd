"""watch: what passes on another machine while a packet is followed."""

from __future__ import annotations

import msgspec

from k8snetlab.dataplane.frames import Connection, Frame
from k8snetlab.messages.probe import Port
from k8snetlab.messages.verb import Conversation


class WatchQuestion(msgspec.Struct, frozen=True):
    """What to look for, until the request's body ends."""

    namespace: tuple[str, ...] = ()
    """Network namespaces by name."""
    port: tuple[Port, ...] = ()
    """Ports of which either is a packet's."""


class Watching(msgspec.Struct, frozen=True, tag_field="type", tag="watching"):
    """The first event: from now on nothing is missed."""


class WatchSeen(msgspec.Struct, frozen=True, tag_field="type", tag="seen"):
    """The last event: what passed on a machine."""

    frames: tuple[Frame, ...] = ()
    """IP packets, by the machine's own clock."""
    connections: tuple[Connection, ...] = ()
    """The connections that its rules made."""


WatchEvent = Watching | WatchSeen

WATCH: Conversation[WatchQuestion, WatchEvent] = Conversation("watch", "POST", "watch", WatchQuestion, WatchEvent)
"""For another machine's trace."""
