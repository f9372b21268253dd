"""Queries in, replies out, by UDP and TCP."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable
from typing import cast

import dns.exception
import msgspec

from k8snetlab.dns import wire
from k8snetlab.dns.answers import Answer, Question
from k8snetlab.dns.chain import Onward
from k8snetlab.nameserver.counters import Counters
from k8snetlab.nameserver.forwarding import Forwarding

REMEMBERED = 8_192
"""So many replies are kept as they were written, until an object changes: at most 8 MB."""
WAITING = 4_096
"""So many queries by UDP may wait for what others say; of more nothing is heard."""
CONNECTIONS = 250
IDLE = 10.0
"""Seconds that a TCP connection may say nothing."""


class Answering:
    """One server's answers. `decide` says what a question is answered, or of whom it is to be asked; what it has said
    holds for as long as `state` is the same."""

    def __init__(
        self,
        decide: Callable[[Question], Answer | Onward],
        state: Callable[[], object],
        forwarding: Forwarding,
        counters: Counters,
    ) -> None:
        self._decide, self._state, self._forwarding, self.counters = decide, state, forwarding, counters
        self._written: dict[tuple[int | None, bytes], tuple[Question, str, bytes]] = {}
        """By what the way back takes and a query without its id: the question, the rcode, the reply without its id."""
        self._of: object = None

    def forget(self) -> None:
        """What was decided holds no more."""
        self._written.clear()

    def now(self, octets: bytes, size: int | None) -> bytes | Later | None:
        """The reply to a query, None for none; what is to be asked first, where that is so. `size` is what the way
        back takes, in octets; None: what the query says."""
        began = time.perf_counter()
        state = self._state()
        if state is not self._of:
            self._written.clear()
            self._of = state
        protocol, key = "udp" if size is None else "tcp", (size, octets[2:])
        if (written := self._written.get(key)) is not None:
            question, rcode, rest = written
            self.counters.asked(protocol, question.type)
            self.counters.answered(rcode, time.perf_counter() - began)
            return octets[:2] + rest
        read = wire.query(octets)
        if isinstance(read, wire.Refused):
            return self._refused(read, began)
        self.counters.asked(protocol, read.question.type)
        answer = self._decide(read.question)
        if isinstance(answer, Onward):
            return Later(read, answer)
        answer, reply = _written(read, answer, size or read.size)
        if len(answer.records) < 2 and len(octets) <= wire.UDP:  # of more the order may change
            if len(self._written) >= REMEMBERED:
                self._written.clear()
            self._written[key] = read.question, answer.rcode, reply[2:]
        self.counters.answered(answer.rcode, time.perf_counter() - began)
        return reply

    def _refused(self, read: wire.Refused, began: float) -> bytes | None:
        if read.reply is None:
            self.counters.dropped += 1
        else:
            self.counters.answered(read.rcode or "FORMERR", time.perf_counter() - began)
        return read.reply

    async def later(self, later: Later, size: int | None) -> bytes:
        """The reply, after others have been asked."""
        began = time.perf_counter()
        answer = await self._forwarding.ask(later.onward)
        answer, reply = _written(later.query, answer, size or later.query.size, recursive=not later.onward.before)
        self.counters.answered(answer.rcode, time.perf_counter() - began)
        return reply


class Later(msgspec.Struct, frozen=True):
    query: wire.Query
    onward: Onward


def _written(query: wire.Query, answer: Answer, size: int, *, recursive: bool = False) -> tuple[Answer, bytes]:
    """The reply, and what it says: SERVFAIL where the answer has what no message can, as a label of 64 octets."""
    try:
        return answer, wire.reply(query, answer, size, recursive)
    except (dns.exception.DNSException, ValueError):
        failed = Answer("SERVFAIL")
        return failed, wire.reply(query, failed, size, recursive)


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
        elif reply is not None and len(self._tasks) >= WAITING:
            self._answering.counters.dropped += 1
        elif reply is not None:
            task = asyncio.create_task(self._later(reply, addr))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _later(self, later: Later, addr: tuple[str, int]) -> None:
        reply = await self._answering.later(later, None)
        if not self._transport.is_closing():
            self._transport.sendto(reply, addr)


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
            await _end(writer)
            self._connections -= 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One query after another, for as long as they come."""
        while True:
            async with asyncio.timeout(IDLE):
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                octets = await reader.readexactly(length)
            reply = self._answering.now(octets, wire.TCP)
            if isinstance(reply, Later):
                reply = await self._answering.later(reply, wire.TCP)
            if reply is None:
                return
            async with asyncio.timeout(IDLE):
                writer.write(struct.pack("!H", len(reply)) + reply)
                await writer.drain()


async def _end(writer: asyncio.StreamWriter) -> None:
    """Who does not read what it is sent would keep the connection for ever."""
    writer.close()
    try:
        async with asyncio.timeout(IDLE):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        writer.transport.abort()
