"""One DNS pod: what CoreDNS would be in it, with a configuration, counters, a cache and sockets of its own."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable

from k8snetlab.api.config import ConfigMap
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.selection import slices_by_service
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.workload import NameService
from k8snetlab.dns import addon, nodelocal
from k8snetlab.dns.answers import Answer, Question
from k8snetlab.dns.chain import Onward
from k8snetlab.nameserver import sockets
from k8snetlab.nameserver.answering import Answering
from k8snetlab.nameserver.configured import Configured
from k8snetlab.nameserver.counters import Counters
from k8snetlab.nameserver.forwarding import Forwarding
from k8snetlab.nameserver.loops import Loops
from k8snetlab.nameserver.serving import Tcp, Udp
from k8snetlab.nameserver.settings import DNS, READY
from k8snetlab.nameserver.web import Web

SERVICE = addon.NAMESPACE, addon.SERVICE


class PodServer:
    """`world` gives the objects as they are now, None before they are known; `failed` is told why it cannot go on."""

    def __init__(
        self, key: str, names: NameService, world: Callable[[], Snapshot | None], failed: Callable[[str], None]
    ) -> None:
        self._names, self._local, self._world, self._failed = names, frozenset(names.local), world, failed
        self._listens = names.local if names.upstream else ()
        self._log, self._handler = _log(key, names.log)
        self._configured = Configured(world, names.local, self._log, self._listens)
        self._counters = Counters(self._listens[0] if self._listens else "")
        self._forwarding = Forwarding(self._counters, names.netns, names.local)
        self._loops, self._is_asked = Loops(self._forwarding.ask, self._fail), False
        self._answering = Answering(self._decide, world, self._configured.zone, self._forwarding, self._counters)
        self._open: list[asyncio.BaseTransport | asyncio.Server] = []

    @property
    def verifies_pods(self) -> bool:
        return self._configured.verifies_pods

    @property
    def config(self) -> str:
        """The name of its ConfigMap."""
        return self._names.config

    def take(self, config: ConfigMap | None) -> None:
        """Goes by this Corefile, where it is another one than before, and right."""
        text = config.data.get(addon.COREFILE, "") if config else ""
        if self._names.upstream:
            snapshot = self._world()
            if snapshot is None:
                return
            text = nodelocal.filled(text, snapshot, self._names.upstream)
        if self._configured.take(text):
            self._answering.forget()
            self._forwarding.forget()
            self._counters.plugins = self._configured.plugins
            self._loops.look(self._configured.blocks)

    def follow(self) -> None:
        """The endpoints have changed: who becomes one is asked from now on, and may ask itself."""
        before, self._is_asked = self._is_asked, self._is_endpoint()
        if self._is_asked and not before:
            self._loops.look(self._configured.blocks)

    def _is_endpoint(self) -> bool:
        snapshot = self._world()
        slices = snapshot.select(EndpointSlice, slices_by_service, SERVICE).values() if snapshot else ()
        ready = (one for slice_ in slices for one in slice_.endpoints if one.conditions.ready is not False)
        return any(not self._local.isdisjoint(one.addresses) for one in ready)

    def _decide(self, question: Question) -> Answer | Onward:
        self._loops.seen(question)
        return self._configured.decide(question)

    def _fail(self, why: str) -> None:
        """As CoreDNS ends; once this question has been dealt with."""
        self._log.critical("%s", why)
        asyncio.get_running_loop().call_soon(self._failed, why)

    async def open(self) -> None:
        """Answers from now on. Raises OSError where a port cannot be had, NotFoundError where the pod is gone."""
        loop, tcp, where = asyncio.get_running_loop(), Tcp(self._answering), self._names.netns
        for address in self._listens or ("",):
            datagrams = sockets.datagrams(where, DNS, address)
            self._open.append((await loop.create_datagram_endpoint(lambda: Udp(self._answering), sock=datagrams))[0])
            stream = sockets.listening(where, DNS, address)
            self._open.append(await asyncio.start_server(tcp.connected, sock=stream))
        web = Web(self._counters, lambda: self._configured.ready)
        host, health = self._names.health
        for address, port in ((host, health), ("", self._names.metrics), *(() if self._listens else (("", READY),))):
            self._open.append(await web.start(sockets.listening(where, port, address)))

    def close(self) -> None:
        for one in self._open:
            one.close()
        self._open.clear()
        self._loops.close()
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
