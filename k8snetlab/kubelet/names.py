"""Names that the lab's host outside answers, by UDP and TCP: no program of its own, as pods' responders are none."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from typing import cast

from k8snetlab.kubelet.responder import listen

PORT = 53
IDLE = 10.0
"""Seconds that a TCP connection may say nothing."""
CONNECTIONS = 100
WARM = 1.0
"""Seconds after which dnspython is read, so that the first question needs not wait for it: in a thread, for others do
not wait either."""


class NamesOutside:
    """Of one namespace; `addresses` are its own at which it answers, the last ones that `update` was told."""

    def __init__(self) -> None:
        self.addresses: tuple[str, ...] = ()
        self._ends: dict[str, tuple[asyncio.BaseTransport, asyncio.Server]] = {}
        self._connections = 0

    async def update(self, namespace: str, addresses: tuple[str, ...]) -> list[str]:
        """Answers at these from now on; returns what is in the way, a sentence each."""
        self.addresses = addresses
        for address in self._ends.keys() - {*addresses}:
            self._end(address)
        problems = []
        for address in addresses:
            if address not in self._ends:
                try:
                    self._ends[address] = await self._listen(namespace, address)
                except OSError as error:
                    problems.append(f"{namespace}: names outside, {address} port {PORT}: {error.strerror}")
        if self._ends:
            loop = asyncio.get_running_loop()
            loop.call_later(WARM, loop.run_in_executor, None, _reply, b"", 0, ())
        return problems

    def close(self) -> None:
        for address in list(self._ends):
            self._end(address)

    def _end(self, address: str) -> None:
        for one in self._ends.pop(address):
            one.close()

    async def _listen(self, namespace: str, address: str) -> tuple[asyncio.BaseTransport, asyncio.Server]:
        loop = asyncio.get_running_loop()
        datagrams = listen(namespace, PORT, "UDP", ":" in address, address)
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=datagrams)
        try:
            stream = listen(namespace, PORT, "TCP", ":" in address, address)
            return transport, await asyncio.start_server(self._connected, sock=stream)
        except OSError:
            transport.close()
            raise

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            while self._connections <= CONNECTIONS:
                async with asyncio.timeout(IDLE):
                    (length,) = struct.unpack("!H", await reader.readexactly(2))
                    reply = _reply(await reader.readexactly(length), 65_535, self.addresses)
                    if not reply:
                        break
                    writer.write(struct.pack("!H", len(reply)) + reply)
                    await writer.drain()
        self._connections -= 1
        writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, names: NamesOutside) -> None:
        self._names = names

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if reply := _reply(data, 0, self._names.addresses):
            self._transport.sendto(reply, addr)


def _reply(octets: bytes, size: int, addresses: tuple[str, ...]) -> bytes:
    """What a query is answered, b"" for nothing. `size` is the most that fits, 0: what the query says."""
    from k8snetlab.dns import outside, wire

    read = wire.query(octets)
    if isinstance(read, wire.Refused):
        return read.reply or b""
    return wire.reply(read, outside.answer(read.question, addresses), size or read.size, recursive=True)
