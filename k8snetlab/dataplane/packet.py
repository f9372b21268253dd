"""A packet as a value: what its octets say, from the Ethernet header on and inside VXLAN.

Sources: RFC 791, 8200 (IP), 9293 (TCP), 768 (UDP), 792, 4443, 4861 (ICMP), 826 (ARP), 7348 (VXLAN), 9260 (SCTP).
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, NamedTuple

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806
TUNNEL_PORTS = (8472, 4789)
"""UDP ports of VXLAN: Linux's own, which flannel took over, and IANA's."""
IPIP = "4"
"""The protocol of IP in IP (RFC 2003), which has no name in NAMES."""
NAMES = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp", 132: "sctp"}
"""Of IP's protocol numbers."""
_ERRORS = {4: (3, 11, 12), 6: (1, 2, 3, 4)}
"""ICMP's and ICMPv6's types that quote the packet they are about."""
_EXTENSIONS = (0, 43, 60)
_FRAGMENT, _NEIGHBOUR_TYPES = 44, (135, 136)
_TCP = struct.Struct("!HHIIBBH")
_PORTS = struct.Struct("!HH")


Fate = Literal["answered", "refused", "unreachable", "lost"]
"""Answered; refused by a reset or an ICMP port unreachable; ICMP says there is no way; nothing came back."""


class Packet(NamedTuple):
    """`protocol` is tcp, udp, icmp (both families'), sctp, arp, an IP protocol's number, or an EtherType ("0x88cc").

    `sequence`, `acknowledged`, `flags` and `window` are TCP's; `identifier` and `sequence` an echo's. `inner` is what
    VXLAN (`vni`) or IP in IP carries, `quoted` the packet that an ICMP error is about, `code` ICMP's type and code, or
    ARP's operation. `about` is the address that ICMPv6 asks or tells the MAC of, `lladdr` the MAC that ARP or ICMPv6
    tells; `smac` and `dmac` are the Ethernet header's, "" where there is none. `length` counts the octets that TCP,
    UDP, SCTP or ICMP carry; `hops` is the hop limit. `fragment`: of a packet's later part, without its ports.
    """

    src: str
    dst: str
    protocol: str
    sport: int = 0
    dport: int = 0
    sequence: int = 0
    acknowledged: int = 0
    flags: int = 0
    identifier: int = 0
    payload: bytes = b""
    vni: int = 0
    inner: Packet | None = None
    quoted: Packet | None = None
    code: tuple[int, int] = (0, 0)
    window: int = 0
    length: int = 0
    hops: int = 0
    about: str = ""
    lladdr: str = ""
    smac: str = ""
    dmac: str = ""
    fragment: bool = False

    @property
    def six(self) -> bool:
        """Whether it is IPv6."""
        return ":" in self.src


def decode(data: bytes, tunnel_ports: Collection[int] = TUNNEL_PORTS) -> Packet | None:
    """The IP packet that begins at the first octet; None for anything else, or too short."""
    try:
        return _ip(data, tunnel_ports)
    except (struct.error, IndexError, ValueError, KeyError):
        return None


def ethernet(data: bytes, tunnel_ports: Collection[int] = TUNNEL_PORTS) -> Packet | None:
    """The frame that begins with its Ethernet header; None if too short."""
    if len(data) < 14:
        return None
    kind = int.from_bytes(data[12:14], "big")
    packet = _arp(data[14:]) if kind == ARP else decode(data[14:], tunnel_ports) if kind in (IPV4, IPV6) else None
    if packet is None:
        return Packet("", "", f"0x{kind:04x}", smac=_mac(data[6:12]), dmac=_mac(data[:6]), length=len(data) - 14)
    return packet._replace(smac=_mac(data[6:12]), dmac=_mac(data[:6]))


def _ip(data: bytes, tunnel_ports: Collection[int]) -> Packet | None:
    version = data[0] >> 4
    if version not in (4, 6):
        return None
    src, dst, number, at, size, hops, fragment = _header(data) if version == 4 else _header6(data)
    protocol, left = NAMES.get(number, str(number)), size - at
    if fragment:
        return Packet(src, dst, protocol, length=left, hops=hops, fragment=True)
    if protocol == "tcp":
        sport, dport, sequence, acknowledged, offset, flags, window = _TCP.unpack_from(data, at)
        length = left - (offset >> 4) * 4
        return Packet(
            src, dst, protocol, sport, dport, sequence, acknowledged, flags, window=window, length=length, hops=hops
        )
    body = data[at:]
    if protocol == "udp":
        sport, dport = _PORTS.unpack_from(body)
        packet = Packet(src, dst, protocol, sport, dport, payload=body[8:], length=left - 8, hops=hops)
        if dport in tunnel_ports and len(body) >= 30 and body[8] & 0x08:
            inner = ethernet(body[16:], tunnel_ports)
            return packet._replace(vni=int.from_bytes(body[12:15], "big"), inner=inner)
        return packet
    if protocol == "icmp":
        return _icmp(Packet(src, dst, protocol, code=(body[0], body[1]), length=left - 8, hops=hops), version, body)
    if protocol == "sctp":
        sport, dport = _PORTS.unpack_from(body)
        return Packet(src, dst, protocol, sport, dport, payload=body[12:], length=left - 12, hops=hops)
    inner = decode(body, tunnel_ports) if protocol == IPIP else None
    return Packet(src, dst, protocol, length=left, hops=hops, inner=inner)


class _Header(NamedTuple):
    """What IP says of a packet: `number` of the protocol inside, which begins `at` that octet, `size` of the whole;
    whether it is a fragment that is not the first."""

    src: str
    dst: str
    number: int
    at: int
    size: int
    hops: int
    fragment: bool


def _header(data: bytes) -> _Header:
    src, dst = _address(data[12:16]), _address(data[16:20])
    size = int.from_bytes(data[2:4], "big") or len(data)
    fragment = bool(int.from_bytes(data[6:8], "big") & 0x1FFF)
    return _Header(src, dst, data[9], (data[0] & 15) * 4, size, data[8], fragment)


def _header6(data: bytes) -> _Header:
    """With all extension headers, up to the protocol that is none."""
    number, at, fragment = data[6], 40, False
    size = int.from_bytes(data[4:6], "big") + 40
    while number in _EXTENSIONS or number == _FRAGMENT:
        if number == _FRAGMENT:
            fragment = bool(int.from_bytes(data[at + 2 : at + 4], "big") >> 3)
            number, at = data[at], at + 8
        else:
            number, at = data[at], at + (data[at + 1] + 1) * 8
    size = size if size > 40 else len(data)
    return _Header(_address(data[8:24]), _address(data[24:40]), number, at, size, data[7], fragment)


def _icmp(packet: Packet, version: int, body: bytes) -> Packet:
    kind = body[0]
    if kind in _ERRORS[version]:
        return packet._replace(quoted=decode(body[8:], ()))
    if version == 6 and kind in _NEIGHBOUR_TYPES:
        option = body[24:32]
        lladdr = _mac(option[2:8]) if len(option) == 8 and option[0] in (1, 2) else ""
        return packet._replace(about=_address(body[8:24]), lladdr=lladdr)
    identifier, sequence = _PORTS.unpack_from(body, 4)
    return packet._replace(identifier=identifier, sequence=sequence, payload=body[8:])


def _arp(data: bytes) -> Packet | None:
    """Of Ethernet and IPv4."""
    if len(data) < 28 or data[:6] != b"\x00\x01\x08\x00\x06\x04":
        return None
    return Packet(_address(data[14:18]), _address(data[24:28]), "arp", code=(data[7], 0), lladdr=_mac(data[8:14]))


@lru_cache(4096)
def _address(packed: bytes) -> str:
    return str(IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed))


@lru_cache(4096)
def _mac(packed: bytes) -> str:
    return packed.hex(":")
