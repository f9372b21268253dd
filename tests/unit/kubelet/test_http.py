"""The kubelet's own HTTP server, and clients that do not wait for it."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from k8snetlab.kernel.stream import ABORT
from k8snetlab.kubelet.http import HttpServer, Reply


def test_who_breaks_off_before_he_is_heard_is_no_error() -> None:
    """As balancers do that only look whether somebody takes their connection."""
    unseen: list[dict[str, Any]] = []

    async def broken_off() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        server = HttpServer(listening, lambda *_: Reply(200, b"{}"))
        with socket.create_connection(listening.getsockname()) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
            for _ in range(2):  # it is taken, and handed over in the next turn
                await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        server.close()

    asyncio.run(broken_off())
    assert not unseen
