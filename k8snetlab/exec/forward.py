"""A connection to a port of a pod, made inside it, as the kubelet makes it for `port-forward`."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator

from k8snetlab.errors import ConflictError
from k8snetlab.kernel import netns
from k8snetlab.messages.places import Received

BLOCK = 1 << 16
PATIENCE = 10.0
"""Seconds for which a connection is waited for."""
_LOOPBACK = ((socket.AF_INET, "127.0.0.1", "tcp4"), (socket.AF_INET6, "::1", "tcp6"))


async def run(namespace: str, port: int, said: AsyncIterator[bytes]) -> AsyncGenerator[Received, None]:
    """Yields what comes from the port, to its end; what is `said` goes there, and its end too. Closing the generator
    closes the connection. Raises ConflictError where nothing answers there, NotFoundError where there is no such
    namespace."""
    reader, writer = await _connected(namespace, port)
    saying = asyncio.create_task(_say(said, writer))
    try:
        while True:
            try:
                data = await reader.read(BLOCK)
            except ConnectionError as error:
                why = os.strerror(error.errno or 0).lower()
                raise ConflictError(f"the connection to localhost:{port} broke off: {why}") from error
            if not data:
                return
            yield Received(data)
    finally:
        saying.cancel()
        writer.transport.abort()
        await asyncio.gather(saying, return_exceptions=True)


async def _connected(namespace: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """As a client that resolves localhost: IPv4 first, then IPv6."""
    reasons = []
    for family, address, word in _LOOPBACK:
        try:
            with netns.inside(namespace):
                made = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            continue  # a machine without IPv6
        made.setblocking(False)
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.get_running_loop().sock_connect(made, (address, port))
            return await asyncio.open_connection(sock=made)
        except OSError as error:  # TimeoutError too
            if error.errno != errno.EADDRNOTAVAIL:  # a pod without IPv6
                why = os.strerror(error.errno).lower() if error.errno else "it takes too long"
                reasons.append(f"{word} {address}:{port}: {why}")
        except BaseException:
            made.close()
            raise
        made.close()
    raise ConflictError(
        f"failed to connect to localhost:{port} inside the pod: {', '.join(reasons)}",
        "nothing listens there: `kubectl get pod -o yaml` shows the ports that its containers name",
    )


async def _say(said: AsyncIterator[bytes], writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        async for data in said:
            writer.write(data)
            await writer.drain()
        writer.write_eof()
