"""capture: a packet that was seen at a device, as `-o json` prints it in a line."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType


class CapturedFields(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a packet's octets say. What says nothing is left out."""

    src: str
    """IP address; of ARP, who asks or tells; "" where there is no IP header."""
    dst: str
    """IP address; of ARP, who is asked for or told."""
    protocol: str
    """tcp, udp, icmp, icmp6, sctp, arp, the number of another IP protocol, or an EtherType ("0x88cc")."""
    sport: int = 0
    """Source port."""
    dport: int = 0
    """Destination port."""
    sequence: int = 0
    """TCP's sequence number, or an echo's."""
    acknowledged: int = 0
    """TCP's acknowledgment number."""
    window: int = 0
    """TCP's window in octets, before scaling."""
    identifier: int = 0
    """An echo's."""
    vni: int = 0
    """The VXLAN network that `inner` belongs to."""
    hops: int = 0
    """The hop limit (TTL)."""
    about: str = ""
    """The address that ICMPv6 asks or tells the MAC of."""
    lladdr: str = ""
    """The MAC that ARP or ICMPv6 tells."""
    smac: str = ""
    """Source MAC of the Ethernet header, where there is one."""
    dmac: str = ""
    """Destination MAC of the Ethernet header, where there is one."""
    flags: tuple[str, ...] | UnsetType = UNSET
    """Of TCP: SYN, FIN, RST, PSH, ACK, URG, ECE, CWR."""
    operation: Literal["request", "reply"] | int | UnsetType = UNSET
    """Of ARP; a number for others."""
    type: int | UnsetType = UNSET
    """Of ICMP and ICMPv6."""
    code: int | UnsetType = UNSET
    """Of ICMP and ICMPv6."""
    fragment: bool = False
    """A later part of a packet, which has no ports."""
    length: int
    """Octets that TCP, UDP, SCTP or ICMP carry."""
    inner: CapturedFields | None = None
    """What VXLAN carries."""
    quoted: CapturedFields | None = None
    """The packet that an ICMP error is about."""


class CapturedPacket(Struct, frozen=True):
    """A packet at a device."""

    time: str
    """UTC, with nanoseconds: "2026-01-31T12:00:00.123456789Z"."""
    nanoseconds: int
    """The same, since 1970."""
    point: str
    """ "PLACE:DEVICE"."""
    netns: str
    """The place's network namespace, "" for the machine's own."""
    interface: str
    """The device."""
    direction: Literal["in", "out"]
    """As the device sees it."""
    length: int
    """Octets of the whole frame."""
    packet: CapturedFields | None
    """null for what is too short to be read."""
