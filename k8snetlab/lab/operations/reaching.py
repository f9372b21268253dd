"""Where the API listens besides the lab's socket: at what the Lab asks for, and once a kubeconfig was asked for."""

from __future__ import annotations

import ssl
from typing import TypeVar

from k8snetlab.addons.plane import balanced
from k8snetlab.api.lab import Lab
from k8snetlab.api.plane import API
from k8snetlab.apiserver.listener import LOOPBACK, PORT, Listener
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.lab.balanced import Application, Balanced
from k8snetlab.lab.table import answers
from k8snetlab.messages.kubeconfig import KUBECONFIG, ApiAccess, KubeconfigFor
from k8snetlab.state.paths import LabPaths, write_private
from k8snetlab.state.plane import opener, read

A = TypeVar("A", bound=Application)
PATIENCE = 5.0
"""Seconds for which a daemon that was killed may still have the port of the one that comes after it."""


class Reaching:
    def __init__(self, cluster: Cluster, listener: Listener, paths: LabPaths) -> None:
        self._cluster, self._listener, self._paths = cluster, listener, paths

    def through(self, app: A) -> A:
        """Whatever listens is answered by `app`, an ASGI application, or by API servers of the lab's own; the same."""
        plane = read(self._paths)
        url = f"https://{balanced(plane)}:{API}" if plane else ""
        self._listener.app = Balanced(app, opener(self._paths.lab), url, self._context) if plane else app
        return app

    def _context(self) -> ssl.SSLContext:
        """As the daemon shows itself to the API servers."""
        pair = self._listener.pair("admin")
        context = ssl.create_default_context(cadata=self._listener.authority.pem.decode())
        context.load_cert_chain(pair.cert, pair.key)
        return context

    async def follow(self) -> None:
        """Listens where the Lab says (spec.api.listen), else where it did before, for as long as the lab lives."""
        try:
            seen: Lab | None = None
            async for snapshot in self._cluster.changes():
                if snapshot.lab is seen:
                    continue
                seen = snapshot.lab
                wanted = snapshot.lab.spec.api.listen or self._listened_before()
                if wanted and not self._listener.asked_for(wanted):
                    await self._listener.close()
                    await self._open(wanted, PATIENCE if wanted == self._listened_before() else 0.0)
        finally:
            await self._listener.close()

    @answers(KUBECONFIG)
    async def kubeconfig(self, asked: KubeconfigFor) -> ApiAccess:
        if not self._listener.address:
            await self._open(self._cluster.snapshot.lab.spec.api.listen or f"{LOOPBACK}:{PORT}")
        pair = self._listener.pair(asked.user)
        return ApiAccess(
            self._paths.lab,
            f"https://{self._listener.reached_at}",
            asked.user,
            self._listener.authority.pem.decode(),
            pair.cert.read_text(),
            pair.key.read_text(),
        )

    async def _open(self, where: str, patience: float = 0.0) -> None:
        address = await self._listener.open(where, patience)
        write_private(self._paths.api_address, address.encode())

    def _listened_before(self) -> str:
        try:
            return self._paths.api_address.read_text().strip()
        except OSError:
            return ""
