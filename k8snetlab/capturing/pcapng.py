"""Packets as a file that Wireshark opens: pcapng, with the name of the device that each was seen on.

Source: draft-ietf-opsawg-pcapng. One section, times in nanoseconds.
"""

from __future__ import annotations

import struct

ETHERNET, RAW = 1, 101
"""Link types: frames with an Ethernet header, and packets that begin with IP's."""
_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_MAGIC, _UNKNOWN_LENGTH = 0x1A2B3C4D, -1
_INBOUND, _OUTBOUND = 1, 2


def section(application: str, comment: str = "") -> bytes:
    """What a file begins with. `application` is the program that writes it."""
    options = _option(1, comment.encode()) if comment else b""
    options += _option(4, application.encode())
    return _block(_SECTION, struct.pack("<IHHq", _MAGIC, 1, 0, _UNKNOWN_LENGTH) + options + _option(0, b""))


def interface(name: str, snaplen: int, link: int = ETHERNET, description: str = "", filter_: str = "") -> bytes:
    """A device; the first is number 0 for `packet`, and so on. `filter_` says what was looked for."""
    options = _option(2, name.encode())
    if description:
        options += _option(3, description.encode())
    options += _option(9, bytes([9]))  # if_tsresol: 10^-9 s
    if filter_:
        options += _option(11, b"\0" + filter_.encode())
    return _block(_INTERFACE, struct.pack("<HHI", link, 0, snaplen) + options + _option(0, b""))


def packet(number: int, nanoseconds: int, data: bytes, length: int, outgoing: bool) -> bytes:
    """A packet seen on device `number`; `length` are its octets before it was cut to `data`."""
    head = struct.pack("<IIIII", number, nanoseconds >> 32, nanoseconds & 0xFFFFFFFF, len(data), length)
    flags = _option(2, struct.pack("<I", _OUTBOUND if outgoing else _INBOUND))
    return _block(_PACKET, head + _padded(data) + flags + _option(0, b""))


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
