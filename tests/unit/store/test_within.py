"""HTTP over sockets that somebody else opens."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from k8snetlab.store.pki import Authority
from k8snetlab.store.within import transport

pytestmark = pytest.mark.anyio


@contextlib.contextmanager
def falling_silent(authority: Authority) -> Iterator[int]:
    """The port of a server that greets, and then says nothing and reads nothing: its machine has lost its power."""
    pair, over = authority.server(["127.0.0.1"]), threading.Event()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)

    def serve(listener: socket.socket) -> None:
        taken, _ = listener.accept()
        with context.wrap_socket(taken, server_side=True):
            over.wait()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            thread.join()


async def test_who_has_fallen_silent_is_left_without_a_goodbye(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = ssl.create_default_context(cafile=str(authority.ca))
    with falling_silent(authority) as port:
        async with asyncio.timeout(15):  # asyncio's goodbye of TLS waits 30 s
            async with httpx.AsyncClient(transport=transport(socket.socket, tls), timeout=5) as client:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(1):
                        await client.get(f"https://127.0.0.1:{port}/")
