"""The API over TLS: its connections begin, and end, whatever their clients do."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from k8snetlab.apiserver.listener import Listener, TlsProtocol, bind, parted
from k8snetlab.store.keys import Keys

pytestmark = pytest.mark.anyio
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: l\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def deaf(scope: Any, receive: Any, send: Any) -> None:
    """Accepts a WebSocket, and hears nothing of it."""
    await send({"type": "websocket.accept"})
    await asyncio.Event().wait()


@asynccontextmanager
async def connected(listener: Listener) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, port = parted(listener.address)
    trusted = ssl.create_default_context(cafile=str(listener.authority.ca))
    reader, writer = await asyncio.open_connection(host, port, ssl=trusted)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_a_port_that_is_about_to_be_free_is_waited_for(tmp_path: Path) -> None:
    """As that of a daemon which was killed and has not quite ended."""
    listener = Listener(Keys(tmp_path / "pki"))
    listener.app = deaf
    with bind("127.0.0.1", 0) as held:
        where = f"127.0.0.1:{held.getsockname()[1]}"
        opening = asyncio.create_task(listener.open(where, patience=120))
        await asyncio.sleep(0.3)
        assert not opening.done()
    assert await opening == where
    await listener.close()


async def test_an_open_websocket_does_not_keep_it_from_closing(tmp_path: Path) -> None:
    listener = Listener(Keys(tmp_path / "pki"))
    listener.app = deaf
    await listener.open("127.0.0.1:0")
    async with asyncio.timeout(30), connected(listener) as (reader, writer):
        writer.write(UPGRADE)
        assert b"101" in await reader.readuntil(b"\r\n\r\n")
        await listener.close()
        assert await reader.read()
    assert listener.address == ""


async def test_who_never_asks_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("k8snetlab.apiserver.protocol.FIRST", 0.01)
    listener = Listener(Keys(tmp_path / "pki"))
    listener.app = deaf
    await listener.open("127.0.0.1:0")
    async with asyncio.timeout(30), connected(listener) as (reader, _):
        with contextlib.suppress(OSError):
            assert await reader.read() == b""
    await listener.close()


async def test_beyond_so_many_none_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("k8snetlab.apiserver.listener.CONNECTIONS", 0)
    listener = Listener(Keys(tmp_path / "pki"))
    listener.app = deaf
    await listener.open("127.0.0.1:0")
    async with asyncio.timeout(20), connected(listener) as (reader, _):
        with contextlib.suppress(OSError):
            assert await reader.read() == b""
    await listener.close()


async def test_who_has_a_websocket_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, really = list[TlsProtocol](), TlsProtocol.connection_made

    def noted(protocol: TlsProtocol, transport: asyncio.Transport) -> None:
        made.append(protocol)
        really(protocol, transport)

    monkeypatch.setattr(TlsProtocol, "connection_made", noted)
    listener = Listener(Keys(tmp_path / "pki"))
    listener.app = deaf
    await listener.open("127.0.0.1:0")
    async with asyncio.timeout(30), connected(listener) as (reader, writer):
        writer.write(UPGRADE)
        assert b"101" in await reader.readuntil(b"\r\n\r\n")
        made[0]._look()
        assert not made[0].transport.is_closing()
        await listener.close()


async def test_it_is_opened_once_by_two_at_the_same_time(tmp_path: Path) -> None:
    listener = Listener(Keys(tmp_path / "pki"))
    listener.app = deaf
    async with asyncio.timeout(30):
        first, second = await asyncio.gather(listener.open("127.0.0.1:0"), listener.open("127.0.0.1:0"))
        assert first == second == listener.address
        await listener.close()
