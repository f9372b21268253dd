"""The smallest HTTP/1.1 server that satisfies curl, browsers and load balancers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus

import msgspec

MAX_HEADER = 65536
_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE ")
Address = tuple[str, int]


class Reply(msgspec.Struct, frozen=True):
    """What is answered to every request: a status, a JSON body with a line end, and further header lines."""

    status: int
    body: bytes
    headers: tuple[bytes, ...] = ()


class HttpResponder(asyncio.Protocol):
    """One connection; keep-alive until the client closes.

    `answer` is asked with the connection's own address and the client's. Any method and path will do; a client that
    speaks no HTTP gets the body alone after its first bytes.
    """

    def __init__(self, answer: Callable[[Address, Address], Reply]) -> None:
        self._answer = answer
        self._buffer = b""
        self._body_left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._local = transport.get_extra_info("sockname")[:2]
        self._peer = transport.get_extra_info("peername")[:2]

    def data_received(self, data: bytes) -> None:
        if self._body_left:
            skipped = min(self._body_left, len(data))
            self._body_left -= skipped
            data = data[skipped:]
        self._buffer += data
        if self._buffer and not any(m.startswith(self._buffer[:8]) or self._buffer.startswith(m) for m in _METHODS):
            self._transport.write(self._answer(self._local, self._peer).body)
            self._transport.close()
            return
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
            self._respond(head)
        if len(self._buffer) > MAX_HEADER:
            self._transport.close()

    def _respond(self, head: bytes) -> None:
        request, *headers = head.split(b"\r\n")
        fields = dict(h.lower().split(b":", 1) for h in headers if b":" in h)
        length = fields.get(b"content-length", b"0").strip()
        self._body_left = int(length) if length.isdigit() else 0
        skipped = min(self._body_left, len(self._buffer))
        self._buffer, self._body_left = self._buffer[skipped:], self._body_left - skipped
        close = request.endswith(b"HTTP/1.0") or fields.get(b"connection", b"").strip() == b"close"
        reply = self._answer(self._local, self._peer)
        lines = [
            b"HTTP/1.1 %d %s" % (reply.status, HTTPStatus(reply.status).phrase.encode()),
            b"Content-Type: application/json",
            b"Content-Length: %d" % len(reply.body),
            *reply.headers,
            *([b"Connection: close"] if close else []),
        ]
        body = b"" if request.startswith(b"HEAD ") else reply.body
        self._transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        if close:
            self._transport.close()
