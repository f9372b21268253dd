"""A listening socket whose connections an ASGI application answers: uvicorn's protocol, without uvicorn's server, which
wakes ten times a second whether or not anybody asks, and takes 0.2 s to end."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from k8snetlab.apiserver.protocol import IDLE, Protocol
from k8snetlab.messages.verb import SERVER

HANDSHAKE = 10.0
"""Seconds that a client has for that of TLS."""


class Connections:
    """From `open` to `close`; both are done in the running loop, which answers meanwhile."""

    def __init__(self, app: Any, protocol: type[Protocol], most: int | None = None, message: int = 0) -> None:
        """`protocol` is made for each connection; beyond `most` of them a request is answered with 503. Where they may
        become WebSockets, a `message` of those has at most so many bytes."""
        self._protocol, self._state = protocol, ServerState()
        self._config = uvicorn.Config(
            app,
            http=protocol,
            ws="wsproto" if message else "none",
            ws_max_size=message,
            ws_ping_timeout=None,  # nothing is read of a client that is ahead of its command, no pong either
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            headers=[("server", SERVER)],
            limit_concurrency=most,
            timeout_keep_alive=IDLE,
        )
        self._config.load()
        self._state.default_headers = self._config.encoded_headers
        self._server: asyncio.Server | None = None

    async def open(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Takes `listener` over, a socket that listens already."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: self._protocol(config=self._config, server_state=self._state, app_state={}),
            sock=listener,
            ssl=tls,
            ssl_handshake_timeout=HANDSHAKE if tls else None,
        )

    async def close(self, grace: float = 0.0) -> None:
        """Takes no more requests; those that are being answered have `grace` seconds to their end."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if tasks := set(self._state.tasks):
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for connection in list(self._state.connections):
            if not connection.transport.is_closing():  # a WebSocket's second shutdown raises
                connection.shutdown()
        self._server = None
