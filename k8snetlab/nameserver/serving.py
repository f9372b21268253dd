"""Queries in, replies out, by UDP and TCP."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import Callable
from typing import cast

from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dns import cluster, wire
from k8snetlab.dns.answers import Answer, Question
from k8snetlab.dns.zones import Zones
from k8snetlab.nameserver.counters import Counters
from k8snetlab.nameserver.upstream import Upstream

REMEMBERED = 8_192
"""So many replies are kept as they were written, until an object changes."""
CONNECTIONS = 250
IDLE = 10.0
"""Seconds that a TCP connection may say nothing."""


class Answering:
    """One server's answers. `world` gives the objects as they are now, None before they are known."""

    def __init__(
        self, zones: Zones, world: Callable[[], Snapshot | None], upstream: Upstream, counters: Counters
    ) -> None:
        self._zones, self._world, self._upstream, self.counters = zones, world, upstream, counters
        self._written: dict[bytes, tuple[Question, str, bytes]] = {}
        """By a query without its id: the question, the rcode, and the reply without its id."""
        self._of: Snapshot | None = None

    def now(self, octets: bytes, size: int | None) -> bytes | wire.Query | None:
        """The reply to a query, None for none; the query where another server must be asked first. `size` is what the
        way back takes, in octets; None: what the query says."""
        began = time.perf_counter()
        snapshot = self._world()
        if snapshot is not self._of:
            self._written.clear()
            self._of = snapshot
        written = self._written.get(octets[2:]) if size is None else None
        if written is not None:
            question, rcode, rest = written
            self.counters.asked("udp", question.type)
            self.counters.answered(rcode, time.perf_counter() - began)
            return octets[:2] + rest
        read = wire.query(octets)
        if isinstance(read, wire.Refused):
            return self._refused(read, began)
        self.counters.asked("udp" if size is None else "tcp", read.question.type)
        answer = cluster.answer(read.question, self._zones, snapshot)
        if answer is None or answer.onward:
            return read
        reply = wire.reply(read, answer, size or read.size)
        if size is None and len(self._written) < REMEMBERED:
            self._written[octets[2:]] = read.question, answer.rcode, reply[2:]
        self.counters.answered(answer.rcode, time.perf_counter() - began)
        return reply

    def _refused(self, read: wire.Refused, began: float) -> bytes | None:
        if read.reply is None:
            self.counters.dropped += 1
        else:
            self.counters.answered(read.rcode or "FORMERR", time.perf_counter() - began)
        return read.reply

    async def later(self, read: wire.Query, size: int | None) -> bytes:
        """The reply to a query about a name outside, or one that leads there."""
        began = time.perf_counter()
        inside = cluster.answer(read.question, self._zones, self._world())
        name = inside.onward if inside and inside.onward else read.question.name
        answer = await self._upstream.answer(Question(name, read.question.type))
        if inside is not None:
            answer = Answer("NOERROR" if answer.records else answer.rcode, (*inside.records, *answer.records))
        self.counters.answered(answer.rcode, time.perf_counter() - began)
        return wire.reply(read, answer, size or read.size, recursive=True)


class Udp(asyncio.DatagramProtocol):
    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self._answering.now(data, None)
        if isinstance(reply, bytes):
            self._transport.sendto(reply, addr)
        elif reply is not None:
            task = asyncio.create_task(self._later(reply, addr))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _later(self, read: wire.Query, addr: tuple[str, int]) -> None:
        self._transport.sendto(await self._answering.later(read, None), addr)


class Tcp:
    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._connections = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= CONNECTIONS:
                await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            self._connections -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One query after another, for as long as they come."""
        while True:
            async with asyncio.timeout(IDLE):
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                octets = await reader.readexactly(length)
            reply = self._answering.now(octets, wire.TCP)
            if isinstance(reply, wire.Query):
                reply = await self._answering.later(reply, wire.TCP)
            if reply is None:
                return
            async with asyncio.timeout(IDLE):
                writer.write(struct.pack("!H", len(reply)) + reply)
                await writer.drain()
