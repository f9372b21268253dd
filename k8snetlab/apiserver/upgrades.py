"""A connection that is upgraded to SPDY/3.1, as `exec` and `port-forward` of kubectl before 1.30 and 1.31 want it.

The application sees a WebSocket (ASGI) whose messages are the connection's bytes as they come, and whose subprotocols
are those that the client offers, after PREFIX: as they are called where SPDY does go through a WebSocket.
Source: apimachinery pkg/util/httpstream/spdy (upgrade.go), httpstream (NegotiateProtocol); KEP-4006.
"""

from __future__ import annotations

import asyncio
import http
import logging
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.server import ServerState

log = logging.getLogger(__name__)
SPDY = b"spdy/3.1"
"""What the header Upgrade says, in small letters."""
PREFIX = "SPDY/3.1+"
_OFFERED = b"x-stream-protocol-version"


class SpdyConnection(asyncio.Protocol):
    """From the request to be upgraded, whose scope (ASGI) `scope` is, to the end."""

    def __init__(self, app: Any, scope: dict[str, Any], state: ServerState) -> None:
        self._app, self._state = app, state
        offered = (value for name, value in scope["headers"] if name == _OFFERED)
        names = [name.strip() for value in offered for name in value.decode("latin-1").split(",")]
        self._scope = {**scope, "type": "websocket", "subprotocols": [PREFIX + name for name in names if name]}
        self._come: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._come.put_nowait({"type": "websocket.connect"})
        self._writable = asyncio.Event()
        self._writable.set()
        self._paused = self._lost = self._answered = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._state.connections.add(self)  # type: ignore[arg-type]  # uvicorn names its own protocols alone
        task = asyncio.get_running_loop().create_task(self._run())
        task.add_done_callback(self._state.tasks.discard)
        self._state.tasks.add(task)

    def data_received(self, data: bytes) -> None:
        self._come.put_nowait({"type": "websocket.receive", "bytes": data})
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._state.connections.discard(self)
        self._come.put_nowait({"type": "websocket.disconnect", "code": 1006})
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def shutdown(self) -> None:
        """The server ends."""
        self._come.put_nowait({"type": "websocket.disconnect", "code": 1012})
        self.transport.close()

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._receive, self._send)
        except ClientDisconnected:
            pass
        except Exception:
            log.exception("%s", self._scope["path"])
        finally:
            self.transport.close()

    async def _receive(self) -> dict[str, Any]:
        message = await self._come.get()
        if self._paused and self._come.empty() and not self._lost:
            self._paused = False
            self.transport.resume_reading()
        return message

    async def _send(self, message: dict[str, Any]) -> None:
        await self._writable.wait()
        if self._lost or self.transport.is_closing():
            raise ClientDisconnected
        match message["type"]:
            case "websocket.accept":
                chosen = message["subprotocol"].removeprefix(PREFIX).encode()
                self._head(101, [(b"connection", b"Upgrade"), (b"upgrade", b"SPDY/3.1"), (_OFFERED, chosen)])
            case "websocket.http.response.start":
                self._head(message["status"], [*message["headers"], (b"connection", b"close")])
            case "websocket.close":
                self.transport.close()
            case "websocket.http.response.body":
                self.transport.write(message["body"])
                self.transport.close()
            case _:
                self.transport.write(message["bytes"])

    def _head(self, code: int, headers: list[tuple[bytes, bytes]]) -> None:
        lines = [b"HTTP/1.1 %d %s" % (code, http.HTTPStatus(code).phrase.encode())]
        lines += [b"%s: %s" % pair for pair in (*self._state.default_headers, *headers)]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n")
