"""Frames made octet by octet, as a kernel would send them, and a reader of pcapng that shares nothing with ours."""

from __future__ import annotations

import socket
import struct
from typing import Any, NamedTuple


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ethernet(kind: int, body: bytes, src: str = "0a:58:00:00:00:01", dst: str = "0a:58:00:00:00:02") -> bytes:
    return mac(dst) + mac(src) + struct.pack("!H", kind) + body


def ip4(src: str, dst: str, protocol: int, body: bytes, offset: int = 0) -> bytes:
    ends = socket.inet_aton(src) + socket.inet_aton(dst)
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, offset, 64, protocol, 0) + ends + body


def ip6(src: str, dst: str, protocol: int, body: bytes) -> bytes:
    ends = socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst)
    return struct.pack("!IHBB", 6 << 28, len(body), protocol, 63) + ends + body


def ip(src: str, dst: str, protocol: int, body: bytes, smac: str = "0a:58:00:00:00:01") -> bytes:
    """In an Ethernet frame, of either family."""
    if ":" in src:
        return ethernet(0x86DD, ip6(src, dst, protocol, body), smac)
    return ethernet(0x0800, ip4(src, dst, protocol, body), smac)


def tcp(sport: int, dport: int, flags: int, data: bytes = b"") -> bytes:
    return struct.pack("!HHIIBBHHH", sport, dport, 1000, 2000, 5 << 4, flags, 64240, 0, 0) + data


def udp(sport: int, dport: int, data: bytes = b"") -> bytes:
    return struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data


def sctp(sport: int, dport: int) -> bytes:
    return struct.pack("!HHII", sport, dport, 0, 0) + b"\x01\x00\x00\x04"


def icmp(kind: int, code: int, rest: bytes = b"\0\0\0\0") -> bytes:
    return struct.pack("!BBH", kind, code, 0) + rest


def arp(operation: int, src: str, dst: str, smac: str = "0a:58:00:00:00:01") -> bytes:
    ends = mac(smac) + socket.inet_aton(src) + bytes(6) + socket.inet_aton(dst)
    return ethernet(0x0806, b"\x00\x01\x08\x00\x06\x04" + struct.pack("!H", operation) + ends, dst="ff:ff:ff:ff:ff:ff")


def vxlan(vni: int, frame: bytes) -> bytes:
    return struct.pack("!II", 0x08 << 24, vni << 8) + frame


class Block(NamedTuple):
    """`options` by code."""

    kind: int
    fields: tuple[Any, ...]
    data: bytes
    options: dict[int, bytes]


def pcapng(data: bytes) -> list[Block]:
    """The blocks of a little-endian file; fails on what the format forbids."""
    found, at = [], 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        assert length % 4 == 0 and struct.unpack_from("<I", data, at + length - 4)[0] == length
        body = data[at + 8 : at + length - 4]
        form = {0x0A0D0D0A: "<IHHq", 1: "<HHI", 6: "<IIIII"}[kind]
        fields, rest = struct.unpack_from(form, body), struct.calcsize(form)
        octets = fields[3] if kind == 6 else 0
        found.append(Block(kind, fields, body[rest : rest + octets], _options(body[rest + (octets + 3) // 4 * 4 :])))
        at += length
    assert at == len(data)
    return found


def _options(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while data:
        code, length = struct.unpack_from("<HH", data)
        if code == 0:
            assert length == 0 and len(data) == 4
            break
        found[code] = data[4 : 4 + length]
        data = data[4 + (length + 3) // 4 * 4 :]
    return found
