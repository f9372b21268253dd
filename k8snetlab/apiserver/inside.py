"""The API where pods look for it: at an address of a node, inside that node's namespace only.

A socket belongs to the namespace that it is opened in. It listens before anybody asks; certificate and TLS wait for the
first who does, because to load OpenSSL takes as long as to build a small lab.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterable
from typing import Any

from k8snetlab.apiserver.connections import Connections
from k8snetlab.apiserver.listener import CONNECTIONS, MESSAGE, NAMES, PORT, TlsProtocol, bind, shown, tls
from k8snetlab.kernel import netns
from k8snetlab.store.keys import Keys

log = logging.getLogger(__name__)


class InsideListener:
    """In the namespace `name`, which has the number `number`, at `address`; `closed` ends it, and lets the namespace
    go."""

    def __init__(self, keys: Keys, app: Any, name: str, host: str, services: Iterable[str]) -> None:
        """Raises InputError, NotFoundError."""
        self._keys, self._app, self._services = keys, app, tuple(services)
        self.name, self.host, self.number = name, host, netns.inode(name)
        with netns.inside(name):
            self._bound = bind(host, PORT, free=True)
        self._bound.setblocking(False)
        self._connections: Connections | None = None

    @property
    def address(self) -> str:
        """host:port."""
        return shown(self.host, self._bound.getsockname()[1])

    def is_in(self, name: str, host: str) -> bool:
        """Whether it still listens there: a namespace may be made anew under its name."""
        return (name, host) == (self.name, self.host) and netns.number(name) == self.number

    async def serve(self) -> None:
        """Answers from the first connection on, for as long as nothing ends it."""
        try:
            await _readable(self._bound)
            context = await asyncio.to_thread(self._context)
            self._connections = Connections(self._app, TlsProtocol, CONNECTIONS, MESSAGE)
            await self._connections.open(self._bound, context)
            await asyncio.Event().wait()
        finally:
            if self._connections is not None:
                await self._connections.close()
            self._bound.close()

    def close(self) -> None:
        """Of one that was never served."""
        with contextlib.suppress(OSError):
            self._bound.close()

    def _context(self) -> Any:
        authority = self._keys.authority
        return tls(authority.ca, authority.server((self.host, *self._services, *NAMES), name="inside"))


async def _readable(bound: socket.socket) -> None:
    """Until somebody knocks."""
    loop = asyncio.get_running_loop()
    knocked = loop.create_future()

    def knock() -> None:
        if not knocked.done():
            knocked.set_result(None)

    loop.add_reader(bound, knock)
    try:
        await knocked
    finally:
        loop.remove_reader(bound)
