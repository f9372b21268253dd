"""link: how a node's devices send, and which of them are down."""

from __future__ import annotations

import msgspec

from k8snetlab.messages.timeouts import LONG
from k8snetlab.messages.verb import Call, OfNode


class LinkChange(msgspec.Struct, frozen=True):
    """What is to be of a node's device from now on. With neither `shape` nor `up` all that was set of it is taken
    back."""

    node: str
    """Its node."""
    device: str = ""
    """Its name, "" for eth0; where all is taken back, "" for all of the node's."""
    shape: str = ""
    """How it sends, as tc has it: delay 50ms 5ms loss 1% rate 10mbit."""
    up: bool | None = None
    """Whether it is up; null leaves that as it is."""


class LinksQuestion(msgspec.Struct, frozen=True):
    """Whose devices are meant."""

    node: str = ""
    """A node's name, "" for all."""


class LinkState(msgspec.Struct, frozen=True, kw_only=True):
    """A node's device of which something was set, or that somebody else has shaped."""

    node: str
    """Its node."""
    device: str
    """Its name."""
    down: bool = False
    """Whether it is to be down."""
    shape: str = ""
    """How it is to send: "delay 50ms 5ms loss 1% rate 10mbit", "" for as ever."""
    qdisc: str = ""
    """What tc shows at its root: netem, tbf; "" for neither, and where nobody could look."""
    held: str = ""
    """How that one has it send."""
    ours: bool = False
    """Whether the lab's agent put it there."""
    packets: int = 0
    """That it has sent."""
    octets: int = 0
    """That it has sent."""
    drops: int = 0
    """Packets that it has lost, on purpose or for want of room."""
    overlimits: int = 0
    """How often a packet had to wait for its rate."""
    waiting: int = 0
    """Packets that it holds back now."""


class LinkList(msgspec.Struct, frozen=True):
    """Devices of nodes."""

    links: tuple[LinkState, ...]
    """By node and device."""
    notes: tuple[str, ...] = ()
    """What is to be known beside that, in sentences."""


LINK: Call[LinkChange, LinkList] = Call(
    "link set", "POST", "links/{node}", LinkChange, LinkList, OfNode(), silence=LONG
)
LINKS: Call[LinksQuestion, LinkList] = Call("link show", "GET", "links", LinksQuestion, LinkList, OfNode(), group=True)
