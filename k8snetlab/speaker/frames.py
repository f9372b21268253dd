"""ARP, NDP, and what speakers tell each other, as octets.

Source: RFC 826, RFC 4861 (neighbour advertisements); MetalLB internal/layer2/arp.go, ndp.go.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

BROADCAST = b"\xff" * 6
ARP, BEATS = 0x0806, 0x88B5
"""Ethertypes; the second is IEEE's for local experiments, and carries what speakers tell each other."""
REQUEST, REPLY = 1, 2
SOLICITATION, ADVERTISEMENT = 135, 136
_ARP = struct.Struct("!6s6sHHHBBH6s4s6s4s")
ALL_NODES = "ff02::1"
ROOM = 1200
"""Octets of addresses that one frame has."""


class ArpRequest(NamedTuple):
    """Who asks (MAC and address), and for which address."""

    mac: bytes
    sender: str
    target: str


class Beat(NamedTuple):
    node: str
    claims: tuple[str, ...]
    releases: tuple[str, ...]


def arp_request(frame: bytes, own: bytes) -> ArpRequest | None:
    """An ARP request to everybody or to `own`; None for anything else."""
    if len(frame) < _ARP.size:
        return None
    to, _, kind, hardware, protocol, mac_size, ip_size, what, mac, sender, _, target = _ARP.unpack_from(frame)
    if (kind, hardware, protocol, mac_size, ip_size, what) != (ARP, 1, 0x0800, 6, 4, REQUEST):
        return None
    if to not in (BROADCAST, own):
        return None
    return ArpRequest(mac, str(ip_address(sender)), str(ip_address(target)))


def arp_reply(request: ArpRequest, own: bytes) -> bytes:
    target, sender = ip_address(request.target).packed, ip_address(request.sender).packed
    return _ARP.pack(request.mac, own, ARP, 1, 0x0800, 6, 4, REPLY, own, target, request.mac, sender)


def gratuitous(address: str, own: bytes) -> tuple[bytes, bytes]:
    """The request and the reply that nobody asked for: some hosts learn from the one, some from the other."""
    packed = ip_address(address).packed
    request, reply = (
        _ARP.pack(BROADCAST, own, ARP, 1, 0x0800, 6, 4, what, own, packed, BROADCAST, packed)
        for what in (REQUEST, REPLY)
    )
    return request, reply


def probe(address: str, own: bytes) -> bytes:
    """Asks everybody who has the address, and tells nobody an address of one's own: RFC 5227's probe."""
    return _ARP.pack(BROADCAST, own, ARP, 1, 0x0800, 6, 4, REQUEST, own, bytes(4), bytes(6), ip_address(address).packed)


def answer(frame: bytes) -> tuple[str, str] | None:
    """The address that an ARP reply tells of, and the MAC; None for anything else."""
    if len(frame) < _ARP.size:
        return None
    _, _, kind, hardware, protocol, _, _, what, mac, sender, _, _ = _ARP.unpack_from(frame)
    if (kind, hardware, protocol, what) != (ARP, 1, 0x0800, REPLY):
        return None
    return str(ip_address(sender)), mac.hex(":")


def solicited(message: bytes) -> str:
    """The address that an ICMPv6 neighbour solicitation asks for, "" for any other message."""
    if len(message) < 24 or message[0] != SOLICITATION or message[1] != 0:
        return ""
    return str(IPv6Address(message[8:24]))


def advertisement(address: str, own: bytes, asked: bool) -> bytes:
    """The kernel fills in the checksum. It overrides what neighbours have."""
    flags = (0x40000000 if asked else 0) | 0x20000000
    return struct.pack("!BBHI", ADVERTISEMENT, 0, 0, flags) + IPv6Address(address).packed + b"\x02\x01" + own


def group_of(address: str) -> str:
    """The solicited-node multicast group of an address."""
    return str(IPv6Address(int(IPv6Address("ff02::1:ff00:0")) | int(IPv6Address(address)) & 0xFFFFFF))


def beats(node: str, claims: Iterable[str], releases: Iterable[str], own: bytes) -> list[bytes]:
    """As many frames as it takes; none where there is nothing to say."""
    frames: list[bytes] = []
    told: list[tuple[str, str]] = [*(("claims", one) for one in claims), *(("releases", one) for one in releases)]
    while told:
        part: dict[str, list[str]] = {"claims": [], "releases": []}
        room = ROOM
        while told and room > 0:
            field, address = told.pop()
            part[field].append(address)
            room -= len(address) + 3
        text = json.dumps({"node": node, **part}).encode()
        frames.append(BROADCAST + own + struct.pack("!HH", BEATS, len(text)) + text)
    return frames


def beat(frame: bytes) -> Beat | None:
    """What another speaker tells; None for what is none of theirs."""
    if len(frame) < 16 or struct.unpack_from("!H", frame, 12) != (BEATS,):
        return None
    (length,) = struct.unpack_from("!H", frame, 14)
    try:
        said = json.loads(frame[16 : 16 + length])
        return Beat(str(said["node"]), tuple(map(str, said["claims"])), tuple(map(str, said["releases"])))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
