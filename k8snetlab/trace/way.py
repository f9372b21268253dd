"""What a trace tells: the ways a packet can take, hop by hop, with what decided at each."""

from __future__ import annotations

from typing import Literal

import msgspec

from k8snetlab.dataplane.families import end
from k8snetlab.dataplane.packet import IPIP, Fate

Point = tuple[str, str, str]
"""Namespace, device, "out" or "in": a place where a packet socket sees the packet."""


Deciding = Literal[
    "route",
    "neighbour",
    "port",
    "flood",
    "mixed",
    "rule",
    "set",
    "chains",
    "conntrack",
    "fdb",
    "queue",
    "encapsulate",
    "decapsulate",
    "deliver",
    "stop",
]

UNREAD = "not followed: "
"""So begins a decision that is none: rules that cannot be followed, of which nobody knows what they do."""


class Flow(msgspec.Struct, frozen=True):
    """A packet's addresses and ports."""

    src: str
    """IP address of the sender."""
    dst: str
    """IP address of the receiver."""
    protocol: str = "tcp"
    """tcp, udp, icmp or sctp; of a tunnel's packet also 4, IP in IP."""
    sport: int = 0
    """Source port, 0 for ICMP."""
    dport: int = 0
    """Destination port, 0 for ICMP."""
    inner: Carried | None = None
    """What a tunnel's packet carries."""

    def turned(self) -> Flow:
        """The answer's."""
        return Flow(self.dst, self.src, self.protocol, self.dport, self.sport)

    def __str__(self) -> str:
        return f"{end(self.src, self.sport)} → {end(self.dst, self.dport)}"


class Carried(msgspec.Struct, frozen=True):
    """A frame inside a VXLAN packet, or a packet inside one of IP in IP."""

    flow: Flow
    """The packet in the frame."""
    mac: str
    """The frame's destination MAC; "" in IP in IP."""
    vni: int
    """The VXLAN network; 0 in IP in IP."""


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that decided where the packet goes."""

    what: Deciding
    """Of what kind; "mixed": both variants of iptables hold rules; "set": an ipset that a policy's
    rule looks into; "chains": they were entered, and no rule of theirs decided."""
    text: str
    """What was decided, in words."""
    entry: str = ""
    """The route, rule or entry as ip, bridge and iptables-save print it."""
    owner: str = ""
    """Who brought it, with the manifest's line."""
    lost: tuple[str, ...] = ()
    """The entries that matched as well and did not win."""
    counters: tuple[int, int] | None = None
    """Packets and bytes that a rule has counted so far."""


class Hop(msgspec.Struct, frozen=True):
    """The packet at a device, after decisions brought it there. The last hop of a way has no device: there it is
    delivered, or ends. An observation fills in the last three fields."""

    netns: str
    """Network namespace."""
    place: str
    """The pod, node, router or outside that it is of."""
    interface: str
    """The device, "" where the way ends."""
    direction: str
    """ "out" or "in", as the device sees it; "" where the way ends."""
    packet: Flow
    """As it is there; of a tunnelled one the inner packet."""
    decisions: tuple[Decision, ...] = ()
    """What brought it there, since the hop before."""
    outer: Flow | None = None
    """The tunnel's packet around it."""
    vni: int = 0
    """The VXLAN network, 0 without a tunnel and in IP in IP."""
    mtu: int = 0
    """The device's, in octets."""
    seen: bool | None = None
    """Whether the real packet was seen there; null where nobody looked."""
    microseconds: float | None = None
    """Since the packet was first seen."""
    remark: str = ""
    """What was otherwise than predicted, or why nobody looked."""

    @property
    def point(self) -> Point:
        return (self.netns, self.interface, self.direction)

    @property
    def around(self) -> str:
        """What the tunnel's packet is, without its addresses; "" without a tunnel."""
        return "" if self.outer is None else "IP in IP" if self.outer.protocol == IPIP else f"VXLAN {self.vni}"


class Way(msgspec.Struct, frozen=True):
    """One way there and back."""

    probability: float
    """Of a packet to take it, from 0 to 1: chance chooses among endpoints."""
    fate: Fate
    """What the sender hears: an answer; a refusal (a reset or ICMP port unreachable); that there is no way (ICMP); or
    nothing."""
    there: tuple[Hop, ...]
    """The hops of the packet."""
    back: tuple[Hop, ...] = ()
    """The hops of its answer."""
    endpoint: str = ""
    """What a Service's address became, "ip:port"."""
    reason: str = ""
    """Why it is not answered, or ""."""
    flooded: tuple[tuple[str, str], ...] = ()
    """Bridges, as [network namespace, device], that send the packet out of all ports, not knowing which."""
    unheard: bool = False
    """It arrived, and no process listens."""

    @property
    def hops(self) -> tuple[Hop, ...]:
        return (*self.there, *self.back)
