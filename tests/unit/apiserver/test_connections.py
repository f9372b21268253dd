"""The REST socket's end: what is being answered gets its time, and nothing else is waited for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from k8snetlab.apiserver.connections import Connections
from k8snetlab.apiserver.server import PeerProtocol

pytestmark = pytest.mark.anyio


def listening(directory: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(directory / "s"))
    listener.listen()
    return listener


class Slow:
    """An application that answers when it is told to."""

    def __init__(self) -> None:
        self.asked, self.told = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.set()
        await self.told.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})


@asynccontextmanager
async def connected(directory: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(directory / "s")
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def asking(directory: Path, app: Slow) -> AsyncIterator[asyncio.StreamReader]:
    async with connected(directory) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await app.asked.wait()
        yield reader


async def test_who_asks_nothing_more_is_not_waited_for(tmp_path: Path) -> None:
    app = Slow()
    app.told.set()
    connections = Connections(app, PeerProtocol)
    await connections.open(listening(tmp_path))
    async with asking(tmp_path, app) as reader, asyncio.timeout(30):
        await reader.readuntil(b"done\r\n0\r\n\r\n")
        await connections.close(3600)
        assert await reader.read() == b""


async def test_what_is_being_answered_is_answered_to_its_end(tmp_path: Path) -> None:
    app = Slow()
    connections = Connections(app, PeerProtocol)
    await connections.open(listening(tmp_path))
    async with asking(tmp_path, app) as reader, asyncio.timeout(60):
        closing = asyncio.create_task(connections.close(50))
        await asyncio.sleep(0)
        app.told.set()
        await closing
        assert (await reader.read()).endswith(b"done\r\n0\r\n\r\n")


async def test_what_takes_longer_than_its_time_is_broken_off(tmp_path: Path) -> None:
    app = Slow()
    connections = Connections(app, PeerProtocol)
    await connections.open(listening(tmp_path))
    async with asking(tmp_path, app) as reader, asyncio.timeout(30):
        await connections.close(0)
        assert b"done" not in await reader.read()
