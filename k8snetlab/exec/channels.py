"""What goes to a command at a terminal: what is typed, and how large the window is.

The channels are those of Kubernetes' exec (remotecommand v4 and v5: 0 is standard input, 4 a resize in JSON); each
piece has its channel and length before it, as a request's body has no messages of its own.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator

import msgspec

from k8snetlab.errors import InputError
from k8snetlab.messages.places import Cells

STDIN, RESIZE = 0, 4
_HEAD = struct.Struct(">BI")
_LIMIT = 1 << 20
"""Bytes of one piece."""


class Size(msgspec.Struct, frozen=True, rename={"rows": "Height", "columns": "Width"}):
    """A window's size in characters, as Kubernetes' TerminalSize."""

    rows: Cells
    columns: Cells


class Terminal(msgspec.Struct, frozen=True):
    """The terminal that someone sits at: its kind is what TERM says."""

    size: Size
    kind: str


def typed(data: bytes) -> bytes:
    return _HEAD.pack(STDIN, len(data)) + data


def resized(size: Size) -> bytes:
    data = msgspec.json.encode(size)
    return _HEAD.pack(RESIZE, len(data)) + data


async def read(body: AsyncIterator[bytes]) -> AsyncIterator[bytes | Size]:
    """What `typed` and `resized` made, from a body that comes in pieces of any length. Raises InputError."""
    held = bytearray()
    async for piece in body:
        held += piece
        while len(held) >= _HEAD.size:
            channel, length = _HEAD.unpack_from(held)
            if channel not in (STDIN, RESIZE) or length > _LIMIT:
                raise InputError(f"the body is not in channels: {length} bytes for channel {channel}")
            end = _HEAD.size + length
            if len(held) < end:
                break
            data = bytes(held[_HEAD.size : end])
            del held[:end]
            yield data if channel == STDIN else msgspec.json.decode(data, type=Size)
