"""Sockets at which queries come, by UDP and TCP."""

from __future__ import annotations

import asyncio
import struct
from typing import Any, cast

from k8snetlab.nameserver.answering import TCP, TCP6, UDP, UDP6, Answering, Later

WAITING = 4_096
"""So many queries by UDP may wait for what others say; of more nothing is heard."""
CONNECTIONS = 250
IDLE = 10.0
"""Seconds that a TCP connection may say nothing."""


def is_six(end: Any) -> bool:
    """Whether a socket's address is of IPv6, and not one of IPv4 as sockets of both have it."""
    return ":" in end[0] and not end[0].startswith("::ffff:")


class Udp(asyncio.DatagramProtocol):
    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self._answering.now(data, UDP6 if is_six(addr) else UDP)
        if isinstance(reply, bytes):
            self._transport.sendto(reply, addr)
        elif reply is not None and len(self._tasks) >= WAITING:
            self._answering.counters.dropped["too many wait"] += 1
        elif reply is not None:
            task = asyncio.create_task(self._later(reply, addr))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _later(self, later: Later, addr: tuple[str, int]) -> None:
        reply = await self._answering.later(later)
        if not self._transport.is_closing():
            self._transport.sendto(reply, addr)


class Tcp:
    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._connections = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        dropped = self._answering.counters.dropped
        try:
            if self._connections <= CONNECTIONS:
                await self._serve(reader, writer)
            else:
                dropped["too many connections"] += 1
        except TimeoutError:
            dropped["stalled connection"] += 1
        except asyncio.IncompleteReadError:
            dropped["half a query"] += 1
        except OSError:
            pass
        finally:
            await _end(writer)
            self._connections -= 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One query after another, for as long as they come."""
        way = TCP6 if is_six(writer.get_extra_info("peername") or ("",)) else TCP
        while (octets := await _query(reader)) is not None:
            reply = self._answering.now(octets, way)
            if isinstance(reply, Later):
                reply = await self._answering.later(reply)
            if reply is None:
                return
            async with asyncio.timeout(IDLE):
                writer.write(struct.pack("!H", len(reply)) + reply)
                await writer.drain()


async def _query(reader: asyncio.StreamReader) -> bytes | None:
    """The next one, None where none comes. Raises IncompleteReadError, TimeoutError where it breaks off."""
    try:
        async with asyncio.timeout(IDLE):
            first = await reader.read(1)
    except TimeoutError:
        return None
    if not first:
        return None
    async with asyncio.timeout(IDLE):
        (length,) = struct.unpack("!H", first + await reader.readexactly(1))
        return await reader.readexactly(length)


async def _end(writer: asyncio.StreamWriter) -> None:
    """Who does not read what it is sent would keep the connection for ever."""
    writer.close()
    try:
        async with asyncio.timeout(IDLE):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        writer.transport.abort()
