"""What can be asked about a packet, and questions joined to one: the meaning of a filter (`expression` reads it)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Literal, NamedTuple

from k8snetlab.dataplane.packet import Packet

Side = Literal["src", "dst", "and", "or"]
"""Which of a packet's two ends is asked about: one, both, or either."""
CARRIERS = ("tcp", "udp", "sctp")
"""Protocols that have ports."""


class Subject(NamedTuple):
    """What is asked about: a packet and those inside it, its direction, and its length in octets."""

    layers: tuple[Packet, ...]
    outgoing: bool
    length: int


Test = Callable[[Subject], bool]
Match = Callable[[Packet], bool]


def layers(packet: Packet) -> tuple[Packet, ...]:
    """The packet and those inside it, the outermost first."""
    return (packet, *layers(packet.inner)) if packet.inner else (packet,)


# --- of the whole subject ---------------------------------------------------------------------------------------------


def anywhere(match: Match) -> Test:
    """Whether `match` holds for the packet or for one inside it."""
    return lambda subject: any(map(match, subject.layers))


def joined(first: Test, rest: Sequence[tuple[bool, Test]]) -> Test:
    """From left to right, each of `rest` by and (True) or by or."""

    def test(subject: Subject) -> bool:
        found = first(subject)
        for both, one in rest:
            found = (found and one(subject)) if both else (found or one(subject))
        return found

    return test


def negated(one: Test) -> Test:
    return lambda subject: not one(subject)


def going(outgoing: bool) -> Test:
    return lambda subject: subject.outgoing == outgoing


def longer(octets: int) -> Test:
    """At least so long."""
    return lambda subject: subject.length >= octets


def shorter(octets: int) -> Test:
    """At most so long."""
    return lambda subject: subject.length <= octets


# --- of one packet ----------------------------------------------------------------------------------------------------


def protocol(name: str) -> Match:
    """ip, ip6, arp, icmp (of IPv4), icmp6, tcp, udp or sctp; "" is every one."""
    match name:
        case "":
            return lambda _: True
        case "ip":
            return lambda p: p.protocol != "arp" and "." in p.src
        case "ip6":
            return lambda p: p.six
        case "icmp" | "icmp6":
            six = name == "icmp6"
            return lambda p: p.protocol == "icmp" and p.six is six
    return lambda p: p.protocol == name


def vxlan(vni: int | None) -> Match:
    """Carries a frame, of this VNI where one is given."""
    return lambda p: p.inner is not None and p.protocol == "udp" and vni in (None, p.vni)


def station(side: Side, mac: str) -> Match:
    return _sided(side, protocol(""), lambda p: p.smac == mac, lambda p: p.dmac == mac)


def address(side: Side, name: str, network: IPv4Network | IPv6Network) -> Match:
    """An address in `network`, of a packet of protocol `name`, "" for any."""
    wanted, mask, base = network.version, int(network.netmask), int(network.network_address)

    def within(text: str) -> bool:
        version, number = _number_of(text)
        return version == wanted and number & mask == base

    return _sided(side, protocol(name), lambda p: within(p.src), lambda p: within(p.dst))


def port(side: Side, carriers: Collection[str], low: int, high: int) -> Match:
    """A port from `low` to `high`, both included. Only the first fragment of a packet has ports."""
    return _sided(
        side,
        lambda p: p.protocol in carriers and not p.fragment,
        lambda p: low <= p.sport <= high,
        lambda p: low <= p.dport <= high,
    )


def tcp_flags(mask: int, bits: int, same: bool) -> Match:
    """Whether TCP's flags under `mask` are `bits`, or (`same` false) are not."""
    return lambda p: p.protocol == "tcp" and not p.fragment and (p.flags & mask == bits) is same


def _sided(side: Side, right: Match, source: Match, target: Match) -> Match:
    match side:
        case "src":
            return lambda p: right(p) and source(p)
        case "dst":
            return lambda p: right(p) and target(p)
        case "and":
            return lambda p: right(p) and source(p) and target(p)
        case "or":
            return lambda p: right(p) and (source(p) or target(p))


@lru_cache(4096)
def _number_of(text: str) -> tuple[int, int]:
    """Its IP version and the address as a number; version 0 where there is no address."""
    if not text:
        return 0, 0
    parsed = ip_address(text)
    return parsed.version, int(parsed)
