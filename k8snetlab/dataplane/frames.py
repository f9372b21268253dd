"""What a capture saw: frames at devices, and the connections that conntrack made."""

from __future__ import annotations

from typing import NamedTuple

from k8snetlab.dataplane.packet import Packet


class Frame(NamedTuple):
    """A frame at a device. `astray`: it was addressed to another device. `nanoseconds` since 1970."""

    netns: str
    interface: str
    outgoing: bool
    astray: bool
    nanoseconds: int
    packet: Packet


class Connection(NamedTuple):
    """What conntrack of `netns` made of a new connection: `original` is (source, port, destination, port) as it came,
    `reply` those of the answer that it expects."""

    netns: str
    protocol: str
    original: tuple[str, int, str, int]
    reply: tuple[str, int, str, int]
