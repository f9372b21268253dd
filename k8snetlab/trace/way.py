"""What a trace tells: the ways a packet can take, hop by hop, with what decided at each."""

from __future__ import annotations

import msgspec

from k8snetlab.dataplane.packet import Fate

Point = tuple[str, str, str]
"""Namespace, device, "out" or "in": a place where a packet socket sees the packet."""


class Flow(msgspec.Struct, frozen=True):
    """A packet's addresses; ports are 0 for ICMP. `inner` is what a VXLAN packet carries."""

    src: str
    dst: str
    protocol: str = "tcp"
    sport: int = 0
    dport: int = 0
    inner: Carried | None = None

    def turned(self) -> Flow:
        """The answer's."""
        return Flow(self.dst, self.src, self.protocol, self.dport, self.sport)

    def __str__(self) -> str:
        return f"{end(self.src, self.sport)} → {end(self.dst, self.dport)}"


class Carried(msgspec.Struct, frozen=True):
    """A frame inside a VXLAN packet."""

    flow: Flow
    mac: str
    vni: int


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that decided: `what` is route, neighbour, port, flood, mixed (both variants of iptables hold rules),
    rule, chains (entered, and no rule of theirs decided), conntrack, fdb, encapsulate, decapsulate, deliver or stop.

    `entry` is the route, rule or entry as ip, bridge and iptables-save print it; `lost` the entries that matched and
    did not win; `counters` packets and bytes of a rule.
    """

    what: str
    text: str
    entry: str = ""
    owner: str = ""
    lost: tuple[str, ...] = ()
    counters: tuple[int, int] | None = None


class Hop(msgspec.Struct, frozen=True):
    """The packet at a device, after `decisions` brought it there. The last hop of a way has no device: there it is
    delivered, or ends. `outer` is the VXLAN packet around it. `seen`, `microseconds` (since the first) and `remark` are
    filled in by an observation.
    """

    netns: str
    place: str
    interface: str
    direction: str
    packet: Flow
    decisions: tuple[Decision, ...] = ()
    outer: Flow | None = None
    vni: int = 0
    mtu: int = 0
    seen: bool | None = None
    microseconds: float | None = None
    remark: str = ""

    @property
    def point(self) -> Point:
        return (self.netns, self.interface, self.direction)


class Way(msgspec.Struct, frozen=True):
    """One way there and back. `endpoint` is what a Service's address became; `reason` says why it did not arrive.

    `flooded` names the bridges (namespace, device) that send the packet out of all ports, not knowing which. `unheard`:
    it arrived, and no process listens.
    """

    probability: float
    fate: Fate
    there: tuple[Hop, ...]
    back: tuple[Hop, ...] = ()
    endpoint: str = ""
    reason: str = ""
    flooded: tuple[tuple[str, str], ...] = ()
    unheard: bool = False

    @property
    def hops(self) -> tuple[Hop, ...]:
        return (*self.there, *self.back)


def end(address: str, port: int) -> str:
    """ "10.0.0.1:80", "[fd00::1]:80"; without a port the address alone."""
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def parted(text: str) -> tuple[str, int]:
    """Address and port of what `end` wrote; the port 0 where there is none, the address "" of ":80" and ""."""
    if text.startswith("[") or text.count(":") == 1:
        address, _, port = text.rpartition(":")
        return address.strip("[]"), int(port)
    return text, 0
