"""HTTP on one connection: what is written in one turn goes out at once, and who does not read or does not ask is let
go."""

from __future__ import annotations

import asyncio
import json
import logging
from http import HTTPStatus
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

log = logging.getLogger(__name__)
MOST = 1 << 16
"""Bytes that wait to be sent, in a turn and for a client that reads more slowly than it is told."""
HEAD = 1 << 15
"""Bytes of all headers of a request."""
FIRST = 30.0
"""Seconds that a client has for the first request, and for each later one that has begun."""
IDLE = 95
"""Seconds for which a connection is kept for the next request: Go's clients keep theirs for 90."""
UNREAD = 60.0
"""Seconds that a client has to read MOST bytes."""


def refused(code: int, reason: str, message: str) -> bytes:
    """A Status, for what no part of the API has seen."""
    status = {"status": "Failure", "message": message, "reason": reason, "code": code}
    return json.dumps({"kind": "Status", "apiVersion": "v1", "metadata": {}, **status}).encode()


class Gathering:
    """A transport that sends in one go what is written in one turn of the loop: head and body of an answer are one
    record of TLS and one packet."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not data:
            return
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._size += len(data)
        if self._size >= MOST:
            self.flush()

    def writelines(self, many: list[bytes]) -> None:
        self.write(b"".join(many))

    def flush(self) -> None:
        if self._held:
            held, self._held, self._size = self._held, [], 0
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))

    def get_write_buffer_size(self) -> int:
        return self._size + self._transport.get_write_buffer_size()

    def write_eof(self) -> None:
        self.flush()
        self._transport.write_eof()

    def close(self) -> None:
        if not self._transport.is_closing():  # a second time, asyncio's transport of TLS forgets its protocol
            self.flush()
            self._transport.close()

    def abort(self) -> None:
        self._held, self._size = [], 0
        self._transport.abort()


class Protocol(HttpToolsProtocol):
    """uvicorn's, with limits on what a client may keep waiting."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        transport.set_write_buffer_limits(high=MOST)
        super().connection_made(cast("asyncio.Transport", Gathering(transport, self.loop)))
        self._seen: Any = None
        self._unread: asyncio.TimerHandle | None = None
        self._waiting = self.loop.call_later(FIRST, self._look)
        self._arriving = self._went_on = False
        self._still = 0
        """Octets since the request went on: since its head was whole, a piece of its body came, or it ended."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._waiting.cancel()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._went_on = False
        super().data_received(data)
        self._still = 0 if self._went_on else self._still + len(data)
        if self._still > HEAD and not self.transport.is_closing():
            self._refuse(431, f"the headers of the request have more than {HEAD >> 10} KiB")

    def on_message_begin(self) -> None:
        self._arriving = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._went_on = True
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            self.cycle.send = _Unframed(self.cycle).send  # type: ignore[method-assign]

    def on_chunk_header(self) -> None:
        self._went_on = True

    def on_body(self, body: bytes) -> None:
        self._went_on = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._went_on, self._arriving = True, False
        super().on_message_complete()

    def pause_writing(self) -> None:
        if self._unread is None:
            self._unread = self.loop.call_later(UNREAD, self._cut)
        super().pause_writing()

    def resume_writing(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def _unsupported_upgrade_warning(self) -> None:
        """The request is answered as if it had asked for no other protocol, and nothing behind it is read."""
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is answered where nothing is yet; nothing behind it is read."""
        self._refuse(400, msg)

    def _refuse(self, code: int, message: str) -> None:
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            body = refused(code, "BadRequest", message)
            headers = [*self.server_state.default_headers, (b"content-type", b"application/json")]
            headers += [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
            lines = [b"HTTP/1.1 %d %s" % (code, HTTPStatus(code).phrase.encode())]
            lines += [b"%s: %s" % pair for pair in headers]
            self.transport.write(b"\r\n".join([*lines, b"", body]))
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()

    def _cut(self) -> None:
        if self in self.connections:  # it is HTTP's still
            log.info("a client that did not read for %.0f s was cut off", UNREAD)
            self.transport.abort()

    def _asks(self) -> bool:
        """Whether a request has begun, or none ever has, that nobody answers."""
        return self.cycle is None or (self._arriving and self.cycle.response_complete)

    def _look(self) -> None:
        """Who is in the middle of a request as at the last look, and is answered none, takes up room."""
        if self not in self.connections:  # it has become a WebSocket's
            return
        if self.cycle is self._seen and self._asks():
            self.transport.abort()
            return
        self._seen = self.cycle
        self._waiting = self.loop.call_later(FIRST, self._look)


class _Unframed:
    """An answer to HTTP/1.0, which knows no chunks: what has no length ends with its connection."""

    def __init__(self, cycle: Any) -> None:
        self._cycle, self._send = cycle, cycle.send
        self._bare = False

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._bare = not any(name == b"content-length" for name, _ in message.get("headers", ()))
        if self._bare:
            self._cycle.chunked_encoding = False
            self._cycle.expected_content_length = len(message.get("body", b""))
        await self._send(message)
