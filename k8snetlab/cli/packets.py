"""A packet as a line to read, and as JSON."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from msgspec import UNSET

from k8snetlab.dataplane.families import end
from k8snetlab.dataplane.packet import IPIP, Packet
from k8snetlab.messages.capture import CapturedFields, CapturedPacket

if TYPE_CHECKING:
    from k8snetlab.explain.capture import Sight

FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
"""In the order of their bits."""
_SHOWN = ("SYN", "FIN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
_OPERATIONS: dict[int, Literal["request", "reply"]] = {1: "request", 2: "reply"}
"""Of ARP."""
_UNREACHABLE = {
    0: "net",
    1: "host",
    2: "protocol",
    3: "port",
    4: "too big for a",
    9: "forbidden net",
    10: "forbidden host",
}
_UNREACHABLE6 = {0: "net", 1: "forbidden", 3: "address", 4: "port", 6: "rejected net"}
_ICMP = {0: "echo reply", 8: "echo request", 5: "redirect", 9: "router advertisement", 10: "router solicitation"}
_ICMP6 = {
    128: "echo request",
    129: "echo reply",
    130: "multicast listener query",
    131: "multicast listener report",
    133: "router solicitation",
    134: "router advertisement",
    137: "redirect",
    143: "multicast listener report",
}


def line(sight: Sight, width: int = 0) -> str:
    """Time, point, direction, then the packet; with VXLAN the inner one first, so that one way reads as one column."""
    clock = datetime.datetime.fromtimestamp(sight.seen.nanoseconds // 1_000_000_000).strftime("%H:%M:%S")
    micro = sight.seen.nanoseconds // 1000 % 1_000_000
    way = "out" if sight.seen.outgoing else "in"
    return f"{clock}.{micro:06}  {sight.point:<{width}}  {way:<3}  {words(sight.packet)}"


def words(packet: Packet | None) -> str:
    if packet is None:
        return "too short to be read"
    if packet.inner is None:
        return " ".join(_words(packet))
    around = "IP in IP" if packet.protocol == IPIP else f"VXLAN {packet.vni}"
    return f"{words(packet.inner)}  in {around}: {packet.src} → {packet.dst}"


def fields(sight: Sight) -> CapturedPacket:
    """The packet as JSON has it."""
    seconds, rest = divmod(sight.seen.nanoseconds, 1_000_000_000)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return CapturedPacket(
        time=f"{moment}.{rest:09}Z",
        nanoseconds=sight.seen.nanoseconds,
        point=sight.point,
        netns=sight.netns,
        interface=sight.seen.device,
        direction="out" if sight.seen.outgoing else "in",
        length=sight.seen.length,
        packet=_fields(sight.packet) if sight.packet else None,
    )


def flags(packet: Packet) -> tuple[str, ...]:
    """TCP's flags by name."""
    names = {name for bit, name in enumerate(FLAGS) if packet.flags >> bit & 1}
    return tuple(name for name in _SHOWN if name in names)


def _words(p: Packet) -> Iterator[str]:
    if p.protocol == "arp":
        yield "arp"
        yield f"who has {p.dst}? {p.src} asks" if p.code[0] == 1 else f"{p.src} is at {p.lladdr}"
        return
    if not p.src:
        yield f"{p.smac} → {p.dmac} ethertype {p.protocol}"
        return
    yield f"{end(p.src, p.sport)} → {end(p.dst, p.dport)}"
    if p.protocol == "icmp":
        yield from _icmp(p)
        return
    yield p.protocol
    if p.fragment:
        yield "a later fragment"
    elif p.protocol == "tcp":
        yield ",".join(flags(p)) or "no flags"
    if p.length > 0:
        yield f"{p.length} octets"


def _icmp(p: Packet) -> Iterator[str]:
    kind, code = p.code
    yield "icmp6" if p.six else "icmp"
    if p.fragment:
        yield "a later fragment"
        return
    if p.six:
        if kind == 135:
            yield f"neighbour solicitation: who has {p.about}?"
        elif kind == 136:
            yield f"neighbour advertisement: {p.about} is at {p.lladdr or p.smac}"
        else:
            known = {1: f"{_UNREACHABLE6.get(code, 'destination')} unreachable", 2: "too big", 3: "hop limit reached"}
            yield known.get(kind) or _ICMP6.get(kind, f"type {kind} code {code}")
    else:
        unreachable = "fragmentation needed" if code == 4 else f"{_UNREACHABLE.get(code, 'destination')} unreachable"
        known = {3: unreachable, 11: "time to live reached", 12: "bad header"}
        yield known.get(kind) or _ICMP.get(kind, f"type {kind} code {code}")
    if kind in (0, 8, 128, 129):
        yield f"id {p.identifier} seq {p.sequence}"
    if p.quoted:
        yield f"about {words(p.quoted)}"


def _fields(packet: Packet) -> CapturedFields:
    icmp = packet.protocol == "icmp"
    operation: Literal["request", "reply"] | int = _OPERATIONS.get(packet.code[0], packet.code[0])
    return CapturedFields(
        src=packet.src,
        dst=packet.dst,
        protocol="icmp6" if icmp and packet.six else packet.protocol,
        sport=packet.sport,
        dport=packet.dport,
        sequence=packet.sequence,
        acknowledged=packet.acknowledged,
        window=packet.window,
        identifier=packet.identifier,
        vni=packet.vni,
        hops=packet.hops,
        about=packet.about,
        lladdr=packet.lladdr,
        smac=packet.smac,
        dmac=packet.dmac,
        flags=flags(packet) if packet.protocol == "tcp" else UNSET,
        operation=operation if packet.protocol == "arp" else UNSET,
        type=packet.code[0] if icmp else UNSET,
        code=packet.code[1] if icmp else UNSET,
        fragment=packet.fragment,
        length=packet.length,
        inner=_fields(packet.inner) if packet.inner else None,
        quoted=_fields(packet.quoted) if packet.quoted else None,
    )
