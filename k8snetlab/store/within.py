"""HTTP over sockets that somebody else opens: an etcd in a network of its own is reached by sockets of that one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import httpcore
import httpx

Opener = Callable[[int], socket.socket]
"""Opens a stream socket of an address family; raises OSError where it cannot."""


def transport(opener: Opener, tls: ssl.SSLContext | None) -> httpx.AsyncBaseTransport:
    """What httpx's client has, but for where its connections begin."""
    made = httpx.AsyncHTTPTransport(verify=tls or False, trust_env=False)
    made._pool = httpcore.AsyncConnectionPool(
        ssl_context=tls,
        max_connections=None,
        max_keepalive_connections=20,
        keepalive_expiry=5.0,
        network_backend=_Backend(opener),
    )
    return made


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self, opener: Opener) -> None:
        self._opener = opener

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        async with _told(timeout, httpcore.ConnectTimeout, httpcore.ConnectError):
            made = self._opener(socket.AF_INET6 if ":" in host else socket.AF_INET)
            try:
                made.setblocking(False)
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.sock_connect(made, (host, port))
                reader, writer = await asyncio.open_connection(sock=made)
            except BaseException:
                made.close()
                raise
        return _Stream(reader, writer)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        async with _told(timeout, httpcore.ReadTimeout, httpcore.ReadError):
            return await self._reader.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        async with _told(timeout, httpcore.WriteTimeout, httpcore.WriteError):
            self._writer.write(buffer)
            await self._writer.drain()

    async def aclose(self) -> None:
        self._writer.transport.abort()  # TLS would wait for a goodbye, and who has lost its power says none
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        async with _told(timeout, httpcore.ConnectTimeout, httpcore.ConnectError):
            try:
                await self._writer.start_tls(ssl_context, server_hostname=server_hostname)
            except BaseException:
                self._writer.close()
                raise
        return self

    def get_extra_info(self, info: str) -> Any:
        """httpcore asks whether an idle connection `is_readable`: then the other end has closed it."""
        return self._reader.at_eof() if info == "is_readable" else self._writer.get_extra_info(info)


@contextlib.asynccontextmanager
async def _told(seconds: float | None, late: type[Exception], failed: type[Exception]) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise late(str(error)) from error
    except OSError as error:
        raise failed(str(error)) from error
