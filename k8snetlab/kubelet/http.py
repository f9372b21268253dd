"""The smallest HTTP/1.1 server that satisfies curl, browsers and load balancers."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from http import HTTPStatus

import msgspec

MAX_HEADER = 65536
_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE ")
Address = tuple[str, int]
AT_ONCE = 100
"""Connections that are taken before others have their turn."""
PAUSE = 1.0
"""Seconds for which none is taken when that failed."""


class Reply(msgspec.Struct, frozen=True):
    """What is answered to every request: a status, a JSON body with a line end, and further header lines."""

    status: int
    body: bytes
    headers: tuple[bytes, ...] = ()


Answers = Callable[[Address, Address], Reply]
"""What is said to a client, by the connection's own address and the client's."""


class HttpResponder(asyncio.Protocol):
    """One connection; keep-alive until the client closes.

    `answer` is asked with the connection's own address and the client's. Any method and path will do; a client that
    speaks no HTTP gets the body alone after its first bytes. `early` is what it has said already.
    """

    def __init__(self, answer: Answers, early: bytes = b"") -> None:
        self._answer, self._early = answer, early
        self._buffer = b""
        self._body_left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._local = transport.get_extra_info("sockname")[:2]
        self._peer = (transport.get_extra_info("peername") or ("", 0))[:2]  # who has gone by now has none
        if self._early:
            self.data_received(self._early)

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
        asked = _read(head)
        self._body_left = asked.length
        skipped = min(self._body_left, len(self._buffer))
        self._buffer, self._body_left = self._buffer[skipped:], self._body_left - skipped
        self._transport.write(_written(asked, self._answer(self._local, self._peer)))
        if asked.closes:
            self._transport.close()


class HttpServer:
    """Answers on a listening socket. A request that has come with its connection, whole, and ends it, is answered at
    once, as those of probes are: a transport for each would cost more than all the rest."""

    def __init__(self, sock: socket.socket, answer: Answers) -> None:
        self._sock, self._answer = sock, answer
        self._loop = asyncio.get_running_loop()
        self._handed = set[asyncio.Task[None]]()
        self._pause: asyncio.TimerHandle | None = None
        self._listen()

    def close(self) -> None:
        """Takes no more connections; those that are there go on."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def _listen(self) -> None:
        self._loop.add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, peer = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor is left
                self._loop.remove_reader(self._sock)
                self._pause = self._loop.call_later(PAUSE, self._listen)
                return
            try:
                self._serve(connection, peer[:2])
            except OSError:
                connection.close()

    def _serve(self, connection: socket.socket, peer: Address) -> None:
        """Raises OSError."""
        try:
            data = connection.recv(MAX_HEADER, socket.MSG_DONTWAIT)
        except BlockingIOError:
            data = b""
        if data.startswith(_METHODS) and data.find(b"\r\n\r\n") == len(data) - 4:
            asked = _read(data[:-4])
            if asked.closes and not asked.length:
                said = _written(asked, self._answer(connection.getsockname()[:2], peer))
                if connection.send(said, socket.MSG_DONTWAIT) == len(said):
                    connection.close()
                    return
                raise OSError(errno.EMSGSIZE, "the answer is longer than a socket's buffer")
        connection.setblocking(False)
        task = self._loop.create_task(self._hand_over(connection, data))
        self._handed.add(task)
        task.add_done_callback(self._handed.discard)

    async def _hand_over(self, connection: socket.socket, data: bytes) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: HttpResponder(self._answer, data), connection)
        except OSError:  # it has gone already
            connection.close()


class _Asked(msgspec.Struct, frozen=True):
    """A request's head: has it a body of some `length`, is no other one to come after it, is its body not wanted?"""

    closes: bool
    length: int
    bodyless: bool


def _read(head: bytes) -> _Asked:
    request, *headers = head.split(b"\r\n")
    fields = dict(h.lower().split(b":", 1) for h in headers if b":" in h)
    length = fields.get(b"content-length", b"0").strip()
    closes = request.endswith(b"HTTP/1.0") or fields.get(b"connection", b"").strip() == b"close"
    return _Asked(closes, int(length) if length.isdigit() else 0, request.startswith(b"HEAD "))


def _written(asked: _Asked, reply: Reply) -> bytes:
    lines = [
        b"HTTP/1.1 %d %s" % (reply.status, HTTPStatus(reply.status).phrase.encode()),
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(reply.body),
        *reply.headers,
        *([b"Connection: close"] if asked.closes else []),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if asked.bodyless else reply.body)
