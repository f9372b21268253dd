"""One DNS pod: what CoreDNS would be in it, with a configuration, counters, a cache and sockets of its own."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable

from k8snetlab.api.config import ConfigMap
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.workload import NameService
from k8snetlab.nameserver import sockets
from k8snetlab.nameserver.configured import Configured
from k8snetlab.nameserver.counters import Counters
from k8snetlab.nameserver.forwarding import Forwarding
from k8snetlab.nameserver.serving import Answering, Tcp, Udp
from k8snetlab.nameserver.settings import DNS, HEALTH, METRICS, READY
from k8snetlab.nameserver.web import Web


class PodServer:
    """`world` gives the objects as they are now, None before they are known."""

    def __init__(self, key: str, names: NameService, world: Callable[[], Snapshot | None]) -> None:
        self._netns = names.netns
        self._log, self._handler = _log(key, names.log)
        self._configured = Configured(world, names.local, self._log)
        self._counters = Counters()
        self._forwarding = Forwarding(self._counters, names.netns, names.local)
        self._answering = Answering(self._configured.decide, world, self._forwarding, self._counters)
        self._open: list[asyncio.BaseTransport | asyncio.Server] = []

    @property
    def verifies_pods(self) -> bool:
        return self._configured.verifies_pods

    def take(self, corefile: ConfigMap | None) -> None:
        """Goes by this Corefile, where it is another one than before, and right."""
        if self._configured.take(corefile):
            self._answering.forget()
            self._forwarding.forget()

    async def open(self) -> None:
        """Answers from now on. Raises OSError where a port cannot be had, NotFoundError where the pod is gone."""
        loop, tcp = asyncio.get_running_loop(), Tcp(self._answering)
        datagrams = sockets.datagrams(self._netns, DNS)
        self._open.append((await loop.create_datagram_endpoint(lambda: Udp(self._answering), sock=datagrams))[0])
        self._open.append(await asyncio.start_server(tcp.connected, sock=sockets.listening(self._netns, DNS)))
        web = Web(self._counters, lambda: self._configured.ready)
        for port in (METRICS, READY, HEALTH):
            self._open.append(await web.start(sockets.listening(self._netns, port)))

    def close(self) -> None:
        for one in self._open:
            one.close()
        self._open.clear()
        self._forwarding.forget()
        self._log.removeHandler(self._handler)
        self._handler.close()


def _log(key: str, file: str) -> tuple[logging.Logger, logging.Handler]:
    """What CoreDNS would print goes into the log of the pod's container."""
    handler = logging.FileHandler(file, encoding="utf-8") if file else logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("[%(levelname)s] %(message)s"))
    log = logging.getLogger(f"{__name__}.{key.replace('.', '_')}")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    return log, handler
