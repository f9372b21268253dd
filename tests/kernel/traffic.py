"""Traffic that never ends: clients in network namespaces, each of which opens one connection after the other.

A connection has failed when it is refused, reset, or not answered within PATIENCE; a SYN that is sent again is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from k8snetlab.kernel import netns

PATIENCE = 20.0
"""Seconds: long enough for SYNs that are sent again after 1, 3, 7 and 15 seconds on a busy machine."""
PORTS = range(10_000, 60_000)
"""Source ports of UDP, one after the other: to the kernel two datagrams of the same ports are one connection for two
minutes, and stay with its endpoint while that terminates (kube-proxy forgets connections to what serves no more)."""
SLOW = 0.9
"""Seconds after which a connection has needed a second SYN, or the machine is busy."""


@dataclass(frozen=True)
class Client:
    """Who asks whom: `targets` are (address, port), one after the other."""

    name: str
    namespace: str
    targets: Sequence[tuple[str, int]]
    udp: bool = False


@dataclass
class Failed:
    began: float
    ended: float
    client: str
    target: str
    cause: str

    def __str__(self) -> str:
        return f"{self.client} -> {self.target}: {self.cause} ({self.began:.1f} to {self.ended:.1f} s)"


@dataclass
class Traffic:
    """Runs in a thread of its own from `start` to `stop`; times are in seconds since `began`."""

    pause: float = 0.1
    began: float = field(default_factory=time.monotonic)
    done: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    failed: list[Failed] = field(default_factory=list)
    slow: int = 0
    slowest: float = 0.0

    def start(self, clients: Sequence[Client]) -> None:
        self._ending = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all(clients)), name="traffic")
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        self._thread.join()

    @property
    def now(self) -> float:
        return time.monotonic() - self.began

    async def _all(self, clients: Sequence[Client]) -> None:
        await asyncio.gather(*(self._client(client) for client in clients))

    async def _client(self, client: Client) -> None:
        ports = itertools.cycle(PORTS)
        for address, port in itertools.cycle(client.targets):
            if self._ending.is_set():
                return
            began = self.now
            try:
                async with asyncio.timeout(PATIENCE):
                    said = await self._ask(client, address, port, next(ports))
                line = next(line for line in said.splitlines() if line.startswith(b"{"))
                self.answered[json.loads(line)["pod"]] += 1
            except (OSError, ValueError, StopIteration) as error:  # TimeoutError is an OSError
                cause = f"{type(error).__name__}: {error}".rstrip(": ")
                self.failed.append(Failed(began, self.now, client.name, f"{address}:{port}", cause))
            else:
                self.slow += self.now - began > SLOW
                self.slowest = max(self.slowest, self.now - began)
            self.done[client.name] += 1
            await asyncio.sleep(self.pause * random.uniform(0.5, 1.5))

    async def _ask(self, client: Client, address: str, port: int, own: int) -> bytes:
        kind = socket.SOCK_DGRAM if client.udp else socket.SOCK_STREAM
        with netns.inside(client.namespace):
            sock = socket.socket(socket.AF_INET, kind)
        with contextlib.closing(sock):
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            if client.udp:
                sock.bind(("0.0.0.0", own))
            await loop.sock_connect(sock, (address, port))
            if client.udp:
                return await self._datagram(loop, sock)
            await loop.sock_sendall(sock, b"GET / HTTP/1.0\r\n\r\n")
            answer = b""
            while piece := await loop.sock_recv(sock, 65536):
                answer += piece
            return answer

    async def _datagram(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> bytes:
        while True:
            await loop.sock_sendall(sock, b"?")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    return await loop.sock_recv(sock, 65536)
