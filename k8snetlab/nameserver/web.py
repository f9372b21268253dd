"""What CoreDNS answers by HTTP: its metrics, and whether it is ready."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from k8snetlab.nameserver.counters import Counters

IDLE = 10.0
HEAD = 8_192
"""Octets that a request may have."""


class Web:
    """`ready` says whether names are answered."""

    def __init__(self, counters: Counters, ready: Callable[[], bool]) -> None:
        self._counters, self._ready = counters, ready

    async def start(self, listening: socket.socket) -> asyncio.Server:
        return await asyncio.start_server(self._connected, sock=listening, limit=HEAD)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            async with asyncio.timeout(IDLE):
                line = await reader.readline()
                while (await reader.readline()).strip():
                    pass
                writer.write(self._reply(line.split()))
                await writer.drain()
        writer.close()

    def _reply(self, words: list[bytes]) -> bytes:
        match words:
            case [b"GET", b"/metrics", *_]:
                return _response(200, self._counters.text(), "text/plain; version=0.0.4")
            case [b"GET", b"/ready" | b"/health", *_]:
                return _response(200, "OK") if self._ready() else _response(503, "kubernetes")
        return _response(404, "404 page not found\n")


def _response(code: int, body: str, type_: str = "text/plain; charset=utf-8") -> bytes:
    reason = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}[code]
    data = body.encode()
    head = f"HTTP/1.1 {code} {reason}\r\nContent-Type: {type_}\r\nContent-Length: {len(data)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + data
