"""`python -m k8snetlab.nameserver`: one DNS pod's server."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys

from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Change
from k8snetlab.client.client import Client
from k8snetlab.nameserver.counters import Counters
from k8snetlab.nameserver.serving import Answering, Tcp, Udp
from k8snetlab.nameserver.settings import DNS, METRICS, READY, Settings, read
from k8snetlab.nameserver.upstream import Upstream
from k8snetlab.nameserver.watching import Watching, World
from k8snetlab.nameserver.web import Web

log = logging.getLogger(__name__)
BUFFER = 4 << 20
"""Octets of queries that may wait, so that a crowd that asks at once is answered, and not dropped."""


async def serve(settings: Settings) -> None:
    """Until SIGTERM or SIGINT. Raises OSError where a port cannot be had."""
    loop = asyncio.get_running_loop()
    counters = Counters()
    upstream = Upstream(tuple(_server(text) for text in settings.upstream), counters)

    def told(kind: type[Object], changes: list[Change], whole: bool) -> None:
        loop.call_soon_threadsafe(world.take, kind, changes, whole)

    watching = Watching(Client(settings.lab), told, settings.zones.pods == "verified")
    world = World(watching.kinds)
    answering = Answering(settings.zones, lambda: world.snapshot, upstream, counters)
    watching.start()
    datagrams, stream = _sockets(DNS)
    transport, _ = await loop.create_datagram_endpoint(lambda: Udp(answering), sock=datagrams)
    server = await asyncio.start_server(Tcp(answering).connected, sock=stream)
    web = await Web(counters, lambda: world.snapshot is not None).start(METRICS, READY)
    log.info(".:%d: the names of %s, for lab %s", DNS, settings.zones.domain, settings.lab)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
    transport.close()
    for one in (server, *web):
        one.close()


def _server(text: str) -> tuple[str, int]:
    """ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT."""
    if text.count(":") > 1 and not text.startswith("["):
        return text, DNS
    address, _, port = text.rpartition(":") if ":" in text else (text, "", "")
    return address.strip("[]"), int(port or DNS)


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


def main() -> None:
    settings = read()
    logging.basicConfig(level=logging.INFO, format="[%(levelname)s] %(message)s", stream=sys.stdout)
    gc.freeze()
    try:
        asyncio.run(serve(settings))
    except OSError as error:
        sys.exit(f"error: port {DNS}: {error.strerror or error}")
