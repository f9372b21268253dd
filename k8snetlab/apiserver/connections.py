"""A listening socket whose connections an ASGI application answers: uvicorn's protocol, without uvicorn's server, which
wakes ten times a second whether or not anybody asks, and takes 0.2 s to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from uvicorn.server import ServerState

from k8snetlab.apiserver.protocol import HEAD, IDLE, Protocol, refused
from k8snetlab.messages.verb import SERVER

HANDSHAKE = 10.0
"""Seconds that a client has for that of TLS."""
LAST = 1.0
"""Seconds that clients have to take their last answers, once all are given."""


def _is_bad(record: logging.LogRecord) -> bool:
    """All but an answer that was broken off because the server ends."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


logging.getLogger("uvicorn.error").addFilter(_is_bad)


class Connections:
    """From `open` to `close`; both are done in the running loop, which answers meanwhile."""

    def __init__(self, app: Any, protocol: type[Protocol], most: int | None = None, message: int = 0) -> None:
        """`protocol` is made for each connection; beyond `most` of them a request is answered with 429. Where they may
        become WebSockets, a `message` of those has at most so many bytes."""
        self._protocol, self._state = protocol, ServerState()
        self._config = uvicorn.Config(
            self._door(app, most),
            http=protocol,
            ws="wsproto" if message else "none",
            ws_max_size=message,
            ws_ping_timeout=None,  # nothing is read of a client that is ahead of its command, no pong either
            interface="asgi3",
            lifespan="off",
            log_config=None,
            log_level="error",  # who sends what is no HTTP is told so, and fills no log
            access_log=False,
            proxy_headers=False,
            server_header=False,
            headers=[("server", SERVER)],
            timeout_keep_alive=IDLE,
        )
        self._config.load()
        self._state.default_headers = self._config.encoded_headers
        self._server: asyncio.Server | None = None
        self._watches: set[asyncio.Task[Any]] = set()

    def _door(self, app: Any, most: int | None) -> Any:
        """Lets in who keeps to HTTP, while there are not too many."""

        async def door(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
            elif most is not None and len(self._state.connections) > most:
                await _refuse(send, 429, "TooManyRequests", "too many requests, please try again later")
            elif wrong := _wrong(scope):
                await _refuse(send, *wrong)
            elif _watches(scope) and (task := asyncio.current_task()):
                self._watches.add(task)
                task.add_done_callback(self._watches.discard)
                await app(scope, receive, send)
            else:
                await app(scope, receive, send)

        return door

    async def open(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Takes `listener` over, a socket that listens already."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: self._protocol(config=self._config, server_state=self._state, app_state={}),
            sock=listener,
            ssl=tls,
            ssl_handshake_timeout=HANDSHAKE if tls else None,
        )

    async def close(self, grace: float = 0.0) -> None:
        """Takes no more requests; those that are being answered have `grace` seconds to their end, but watches, which
        have none, are over at once."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        for watch in self._watches:
            watch.cancel()
        if tasks := set(self._state.tasks):
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for connection in list(self._state.connections):
            if not connection.transport.is_closing():  # a WebSocket's second shutdown raises
                connection.shutdown()
        await self._leave()
        self._server = None

    async def _leave(self) -> None:
        """Nobody waits for a client that does not say goodbye in its turn, as TLS would have it; what was answered
        goes out."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST):
                while any(one.transport.get_write_buffer_size() for one in self._state.connections):
                    await asyncio.sleep(0.005)
        for connection in list(self._state.connections):
            connection.transport.abort()


def _watches(scope: Any) -> bool:
    query = scope["query_string"].decode("latin-1")
    return scope["method"] == "GET" and parse_qs(query).get("watch") in (["true"], ["1"])


def _wrong(scope: Any) -> tuple[int, str, str] | None:
    """What of a request's head no part of the API is asked about."""
    if scope["http_version"] not in ("1.1", "1.0"):
        return 505, "BadRequest", f"HTTP/{scope['http_version']} is not spoken here, HTTP/1.1 is"
    if sum(len(name) + len(value) for name, value in scope["headers"]) > HEAD:
        return 431, "BadRequest", f"the headers of the request have more than {HEAD >> 10} KiB"
    codings = [value.lower() for name, value in scope["headers"] if name == b"transfer-encoding"]
    if codings and codings != [b"chunked"]:
        return 501, "BadRequest", "of the codings of Transfer-Encoding chunked is read here, alone"
    if codings and any(name == b"content-length" for name, _ in scope["headers"]):
        # Others before us might have read it otherwise (RFC 9112, 6.3), so nothing behind it is read.
        return 400, "BadRequest", "Content-Length and Transfer-Encoding do not go together"
    if _asks_for_another_protocol(scope) and (codings or _length(scope) != b"0"):
        # Whose body that is, is not agreed on: llhttp reads it as what comes next.
        return 501, "BadRequest", "no protocol is spoken here to which a request with a body could be upgraded"
    return None


def _asks_for_another_protocol(scope: Any) -> bool:
    names = {name for name, _ in scope["headers"]}
    options = b",".join(value.lower() for name, value in scope["headers"] if name == b"connection")
    return b"upgrade" in names and b"upgrade" in map(bytes.strip, options.split(b","))


def _length(scope: Any) -> bytes:
    return next((value.strip() for name, value in scope["headers"] if name == b"content-length"), b"0")


async def _refuse(send: Any, code: int, reason: str, message: str) -> None:
    body = refused(code, reason, message)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"connection", b"close"), *([(b"retry-after", b"1")] if code == 429 else [])]
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": body})
