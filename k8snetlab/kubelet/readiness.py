"""Whether a container is ready: it is asked by HTTP, inside its pod.

Source: kubelet, pkg/probe/http (a status from 200 to 399 is success).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import netns

EAGER, CALM = 0.01, 1.0
"""Seconds between two looks: until it is ready for the first time, and from then on."""
PATIENCE = 1.0
FAILURES = 3
"""So many looks in a row fail until it is not ready any more."""


async def looks(namespace: str, address: str, port: int, path: str) -> AsyncIterator[bool]:
    """What it is each time that this changes; begins with its being ready, for as long as somebody asks."""
    ready, failures, pause = False, 0, EAGER
    while True:
        if await _answers(namespace, (address, port), path):
            failures, pause = 0, CALM
            if not ready:
                ready = True
                yield True
        elif ready:
            failures += 1
            if failures == FAILURES:
                ready = False
                yield False
        await asyncio.sleep(pause)


async def _answers(namespace: str, server: tuple[str, int], path: str) -> bool:
    with contextlib.suppress(OSError, ValueError, IndexError, K8sNetLabError, TimeoutError):
        with netns.inside(namespace):
            sock = socket.socket()
        with sock:
            sock.setblocking(False)
            async with asyncio.timeout(PATIENCE):
                return await _asked(sock, server, path)
    return False


async def _asked(sock: socket.socket, server: tuple[str, int], path: str) -> bool:
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, server)
    await loop.sock_sendall(sock, f"GET {path} HTTP/1.1\r\nHost: {server[0]}\r\nConnection: close\r\n\r\n".encode())
    head = b""
    while b"\r\n" not in head and (more := await loop.sock_recv(sock, 256)):
        head += more
    return 200 <= int(head.split(maxsplit=2)[1]) < 400
