"""A client's side of SPDY/3.1, for tests: frames as moby/spdystream writes them."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import Callable, Coroutine
from typing import Any

from k8snetlab.apiserver.spdy import DICTIONARY


class Client:
    """Makes frames, and reads what a server answers."""

    def __init__(self) -> None:
        self._pack, self._unpack = zlib.compressobj(9, zdict=DICTIONARY), zlib.decompressobj(zdict=DICTIONARY)

    def block(self, headers: dict[str, str]) -> bytes:
        text = struct.pack(">I", len(headers))
        for pair in headers.items():
            for word in pair:
                text += struct.pack(">I", len(word.encode())) + word.encode()
        return self._pack.compress(text) + self._pack.flush(zlib.Z_SYNC_FLUSH)

    def open(self, stream: int, flags: int = 0, **headers: str) -> bytes:
        return control(1, struct.pack(">IIH", stream, 0, 0) + self.block(headers), flags)

    def read(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """(type, stream, rest) of each frame, 0 for data, whose rest has the flags before it."""
        found, at = [], 0
        while at < len(data):
            first, second = struct.unpack_from(">II", data, at)
            payload, at = data[at + 8 : at + 8 + (second & 0xFFFFFF)], at + 8 + (second & 0xFFFFFF)
            if first >> 31:
                (stream,) = struct.unpack_from(">I", payload)
                rest = payload[4:]
                found.append((first & 0xFFFF, stream, self._unpack.decompress(rest) if first & 0xFFFF == 2 else rest))
            else:
                found.append((0, first, bytes([second >> 24]) + payload))
        return found


def control(kind: int, payload: bytes, flags: int = 0, version: int = 3) -> bytes:
    return struct.pack(">II", 1 << 31 | version << 16 | kind, flags << 24 | len(payload)) + payload


def data(stream: int, octets: bytes, last: bool = False) -> bytes:
    return struct.pack(">II", stream, last << 24 | len(octets)) + octets


class Line:
    """A connection: what the client says is put into `said`, what it is told gathers in `told`."""

    def __init__(self) -> None:
        self.client, self.told, self.read = Client(), bytearray(), 0
        self.said: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.closed, self.broken = False, False

    def say(self, *frames: bytes) -> None:
        for frame in frames:
            self.said.put_nowait(frame)

    def hang_up(self) -> None:
        self.said.put_nowait(None)

    async def receive(self) -> dict[str, Any]:
        data = await self.said.get()
        self.read += 1
        return {"type": "websocket.disconnect"} if data is None else {"type": "websocket.receive", "bytes": data}

    async def send(self, message: dict[str, Any]) -> None:
        if self.broken:
            raise OSError("the client has gone")
        if message["type"] == "websocket.close":
            self.closed = True
        else:
            self.told += message["bytes"]

    def frames(self) -> list[tuple[int, int, bytes]]:
        found = self.client.read(bytes(self.told))
        self.told.clear()
        return found


def run(test: Callable[[Line], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(30):
            await test(Line())

    asyncio.run(whole())
