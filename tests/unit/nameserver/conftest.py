"""A name server of a test's own, on loopback."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from golden import objects

from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.names import HOST_NETNS
from k8snetlab.nameserver.answering import Answering
from k8snetlab.nameserver.configured import Configured
from k8snetlab.nameserver.counters import Counters
from k8snetlab.nameserver.forwarding import Forwarding
from k8snetlab.nameserver.serving import Tcp, Udp

WORLD = Path(__file__).parents[1] / "dns/worlds/cluster.yaml"


class Server:
    """`port` answers by UDP and TCP on 127.0.0.1; `world` is what it knows."""

    def __init__(self, corefile: str = "cluster.local {\n kubernetes cluster.local\n}") -> None:
        self.world: Snapshot | None = Snapshot.of(objects(WORLD.read_text()), revision=1)
        self.counters = Counters()
        self.configured = Configured(lambda: self.world, (), logging.getLogger(__name__))
        self.configured.take(corefile)
        forwarding = Forwarding(self.counters, HOST_NETNS, ())
        decide, zone = self.configured.decide, self.configured.zone
        self.answering = Answering(decide, lambda: self.world, zone, forwarding, self.counters)
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        stream, datagram = free_for_both()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # who reads nothing is noticed soon
        self.port = stream.getsockname()[1]
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: Udp(self.answering), sock=datagram)
        server = await asyncio.start_server(Tcp(self.answering).connected, sock=stream)
        try:
            yield
        finally:
            transport.close()
            server.close()
            await asyncio.sleep(0)  # the loop closes what was closed here


def free_for_both() -> tuple[socket.socket, socket.socket]:
    """A socket of TCP and one of UDP at the same port, which the kernel gives for one of them only."""
    while True:
        stream, datagram = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
        try:
            stream.bind(("127.0.0.1", 0))
            datagram.bind(stream.getsockname())
        except OSError:
            stream.close()
            datagram.close()
        else:
            datagram.setblocking(False)
            return stream, datagram


@pytest.fixture
def server() -> Callable[..., Server]:
    return Server
