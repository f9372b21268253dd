"""The API over TLS, asked with as little work of the asker's own as can be: it shares the machine with what it asks."""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.labs import Lab
from benchmarks.run import FailedError

END = b"}\n"
"""How an event of a watch ends; of the frame around it no line does."""


class Door:
    """Where a lab's API listens, and what an administrator shows there."""

    def __init__(self, one: Lab) -> None:
        access = one.json("kubeconfig")
        host, _, port = access["server"].removeprefix("https://").rpartition(":")
        self.host, self.port = host, int(port)
        with tempfile.TemporaryDirectory() as directory:
            pair = Path(directory, "pair")
            pair.write_text(access["clientCertificate"] + access["clientKey"])
            self.tls = ssl.create_default_context(cadata=access["certificateAuthority"])
            self.tls.load_cert_chain(pair)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        reader, writer = await asyncio.open_connection(self.host, self.port, ssl=self.tls, limit=1 << 24)
        try:
            yield Connection(reader, writer)
        finally:
            writer.transport.abort()

    @asynccontextmanager
    async def watch(self, each: Callable[[int], None]) -> AsyncIterator[Watch]:
        """A connection for a watch; `each` is called with the number of events that have come whenever some have."""
        loop = asyncio.get_running_loop()
        transport, watch = await loop.create_connection(
            lambda: Watch(each), self.host, self.port, ssl=self.tls, server_hostname=self.host
        )
        try:
            yield watch
        finally:
            transport.abort()


class Connection:
    """One that is kept, for one request after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, method: str, path: str, body: Any = None) -> bytes:
        """What is answered; raises FailedError for what is no 200 or 201."""
        self._writer.write(_request(method, path, json.dumps(body).encode() if body is not None else b""))
        head = await self._reader.readuntil(b"\r\n\r\n")
        lower = head.lower()
        if b"content-length:" in lower:
            length = int(lower.partition(b"content-length:")[2].partition(b"\r\n")[0])
            said = await self._reader.readexactly(length)
        else:
            said = b""
            while size := int(await self._reader.readuntil(b"\r\n"), 16):
                said += (await self._reader.readexactly(size + 2))[:-2]
            await self._reader.readexactly(2)
        if head[9:12] not in (b"200", b"201"):
            raise FailedError(f"{method} {path}: {said[:300].decode(errors='replace')}")
        return said


class Watch(asyncio.Protocol):
    def __init__(self, each: Callable[[int], None]) -> None:
        self._each, self._begun, self._last = each, asyncio.Event(), b""
        self._count = 0
        self._transport: Any = None

    async def begin(self, path: str) -> None:
        """Until the answer begins."""
        self._transport.write(_request("GET", path, b""))
        async with asyncio.timeout(60):
            await self._begun.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._begun.set()
        seen = self._last + data
        if found := seen.count(END):
            self._count += found
            self._each(self._count)
        self._last = data[-1:]


class Counted:
    """Watchers that wait for so many events each."""

    def __init__(self, watchers: int, events: int) -> None:
        self._watchers, self._events, self._whole = watchers, events, asyncio.Event()
        self._done = set[int]()
        self.ended = 0.0
        """When the last had all, of the clock `perf_counter`."""

    def each(self, watcher: int, count: int) -> None:
        if count >= self._events and watcher not in self._done:
            self._done.add(watcher)
            if len(self._done) == self._watchers:
                self.ended = time.perf_counter()
                self._whole.set()

    async def whole(self) -> None:
        async with asyncio.timeout(120):
            await self._whole.wait()


def _request(method: str, path: str, body: bytes) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: l\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body
