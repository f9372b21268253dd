"""HTTP on one connection: what is written in one turn goes out at once, and who does not read or does not ask is let
go."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

log = logging.getLogger(__name__)
MOST = 1 << 16
"""Bytes that wait to be sent, in a turn and for a client that reads more slowly than it is told."""
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


class Protocol(H11Protocol):
    """uvicorn's, with limits on what a client may keep waiting."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        transport.set_write_buffer_limits(high=MOST)
        super().connection_made(cast("asyncio.Transport", Gathering(transport, self.loop)))
        self._seen: Any = None
        self._unread: asyncio.TimerHandle | None = None
        self._waiting = self.loop.call_later(FIRST, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._waiting.cancel()
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        if self._unread is None:
            self._unread = self.loop.call_later(UNREAD, self._cut)
        super().pause_writing()

    def resume_writing(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is answered where nothing is yet; nothing behind it is read."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = refused(400, "BadRequest", msg)
            headers = [*self.server_state.default_headers, (b"content-type", b"application/json")]
            headers += [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
            for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _cut(self) -> None:
        if self in self.connections:  # it is HTTP's still
            log.info("a client that did not read for %.0f s was cut off", UNREAD)
            self.transport.abort()

    def _asks(self) -> bool:
        """Whether a request has begun, or none ever has, that nobody answers."""
        if self.cycle is None:
            return True
        begun = bool(self.conn.trailing_data[0]) or self.conn.their_state is h11.SEND_BODY
        return begun and self.cycle.response_complete

    def _look(self) -> None:
        """Who is in the middle of a request as at the last look, and is answered none, takes up room."""
        if self not in self.connections:  # it has become a WebSocket's
            return
        if self.cycle is self._seen and self._asks():
            self.transport.abort()
            return
        self._seen = self.cycle
        self._waiting = self.loop.call_later(FIRST, self._look)
