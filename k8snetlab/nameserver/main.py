"""`python -m k8snetlab.nameserver`: one DNS pod's server."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Sequence

from k8snetlab.api.config import ConfigMap
from k8snetlab.api.snapshot import Change
from k8snetlab.client.client import Client
from k8snetlab.dns import addon
from k8snetlab.nameserver.configured import Configured
from k8snetlab.nameserver.counters import Counters
from k8snetlab.nameserver.forwarding import Forwarding
from k8snetlab.nameserver.serving import Answering, Tcp, Udp
from k8snetlab.nameserver.settings import DNS, METRICS, READY, Settings, read
from k8snetlab.nameserver.watching import COREFILE, PODS, WANTED, Wanted, Watching, World
from k8snetlab.nameserver.web import Web

log = logging.getLogger(__name__)
BUFFER = 4 << 20
"""Octets of queries that may wait, so that a crowd that asks at once is answered, and not dropped."""


class Server:
    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.get_running_loop()
        self._world = World(*WANTED)
        self._configured = Configured(lambda: self._world.snapshot, settings.local)
        self._counters = Counters()
        self._forwarding = Forwarding(self._counters, settings.local)
        self._watching = Watching(Client(settings.lab), self._told)

    async def serve(self) -> None:
        """Until SIGTERM or SIGINT. Raises OSError where a port cannot be had."""
        self._watching.begin(*WANTED)
        answering = Answering(
            self._configured.decide,
            lambda: self._world.snapshot,
            self._forwarding,
            self._counters,
        )
        datagrams, stream = _sockets(DNS)
        transport, _ = await self._loop.create_datagram_endpoint(lambda: Udp(answering), sock=datagrams)
        server = await asyncio.start_server(Tcp(answering).connected, sock=stream)
        web = await Web(self._counters, lambda: self._configured.ready).start(METRICS, READY)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, stop.set)
        await stop.wait()
        transport.close()
        for one in (server, *web):
            one.close()

    def _told(self, wanted: Wanted, changes: Sequence[Change], whole: bool) -> None:
        self._loop.call_soon_threadsafe(self._take, wanted, changes, whole)

    def _take(self, wanted: Wanted, changes: Sequence[Change], whole: bool) -> None:
        self._world.take(wanted, changes, whole)
        if wanted == COREFILE and self._configured.take(self._world.get(ConfigMap, addon.NAME, addon.NAMESPACE)):
            self._forwarding.forget()
            if self._configured.verifies_pods:
                self._world.waits_for(PODS)
                self._watching.begin(PODS)


def _sockets(port: int) -> tuple[socket.socket, socket.socket]:
    """Of this namespace, on all of its addresses: one for datagrams, one that listens."""
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    datagrams = socket.socket(family, socket.SOCK_DGRAM)
    stream = socket.socket(family, socket.SOCK_STREAM)
    for one in (datagrams, stream):
        one.setblocking(False)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("", port))
    datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    stream.listen(512)
    return datagrams, stream


async def _main(settings: Settings) -> None:
    await Server(settings).serve()


def main() -> None:
    settings = read()
    logging.basicConfig(level=logging.INFO, format="[%(levelname)s] %(message)s", stream=sys.stdout)
    gc.freeze()
    try:
        asyncio.run(_main(settings))
    except OSError as error:
        sys.exit(f"error: port {DNS}: {error.strerror or error}")
