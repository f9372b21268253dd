"""Keeps the API where pods look for it: a listener inside a node, told in the Node, from which a controller makes the
endpoints of the Service `kubernetes`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import Any

import msgspec

from k8snetlab.api import addressing
from k8snetlab.api.config import ConfigMap
from k8snetlab.api.core import Namespace, Node
from k8snetlab.api.inside import ADDRESS, CLIENT_CA, CLIENT_CA_FILE
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.apiserver.inside import InsideListener
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.dataplane.names import namespace_of
from k8snetlab.errors import AlreadyExistsError, NotFoundError
from k8snetlab.kernel import netns
from k8snetlab.running.agents import Agents
from k8snetlab.store.keys import Keys

log = logging.getLogger(__name__)


class PodsApi:
    """One listener: in the first node, or, in a lab of machines, at this one's address."""

    def __init__(self, cluster: Cluster, agents: Agents, keys: Keys, app: Any) -> None:
        self._cluster, self._agents, self._keys, self._app = cluster, agents, keys, app
        self._listener: InsideListener | None = None
        self._serving: asyncio.Task[None] | None = None
        self._look, self._synced = asyncio.Event(), asyncio.Event()
        self.problem = ""
        """Why there is no place to listen at, for `status`; what fails at one is told as this task's failure."""

    def look(self) -> None:
        """A node was synced: its namespace may be there now, or be another one."""
        self._look.set()
        self._synced.set()

    async def follow(self) -> None:
        """For as long as the lab lives."""
        watching = asyncio.create_task(self._watch(), name="API in pods: changes")
        try:
            while True:
                await self._look.wait()
                self._look.clear()
                await self._keep(self._cluster.snapshot)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await self._close()

    async def publish(self) -> None:
        """Says in a ConfigMap which CA is the lab's, once there are nodes; every namespace gets it from that one."""
        await self._synced.wait()  # where `up` has not made it, to do that takes as long as to make a small lab
        pem = (await asyncio.to_thread(lambda: self._keys.pem)).decode()
        async for snapshot in self._cluster.changes(kinds=(Node, Namespace, ConfigMap)):
            namespace, name = CLIENT_CA
            if not snapshot.all(Node) or snapshot.get(Namespace, namespace) is None:
                continue
            wanted = ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace), data={CLIENT_CA_FILE: pem})
            held = self._cluster.snapshot.get(ConfigMap, name, namespace)
            with contextlib.suppress(AlreadyExistsError, NotFoundError):
                if held is None:
                    await self._cluster.create(wanted)
                elif held.data.get(CLIENT_CA_FILE) != pem:
                    await self._cluster.edit(held, partial(_with_authority, pem))

    async def _watch(self) -> None:
        async for _ in self._cluster.changes(kinds=(Lab, Node)):
            self._look.set()

    async def _keep(self, snapshot: Snapshot) -> None:
        if self._serving is not None and self._serving.done():
            self._serving.result()
        if snapshot.lab.spec.controlPlane.replicas:  # its API servers listen in their own nodes
            return await self._close()
        found = self._place(snapshot)
        self.problem = "" if found or not self._agents.local(snapshot) else _nowhere(snapshot)
        if found is None:
            return await self._close()
        node, name, host = found
        if self._listener is None or not self._listener.is_in(name, host):
            await self._close()
            if not netns.exists(name):
                return None
            services = [str(network[1]) for network in addressing.parse_networks(snapshot.lab.spec.serviceCIDR)]
            self._listener = await asyncio.to_thread(InsideListener, self._keys, self._app, name, host, services)
            self._serving = asyncio.create_task(self._listener.serve(), name="API in pods")
            self._serving.add_done_callback(lambda _: self._look.set())
            log.info("the API listens in %s at https://%s", node.name, self._listener.address)
        if node.metadata.annotations.get(ADDRESS) != self._listener.address:
            await self._tell(node, self._listener.address)
        return None

    def _place(self, snapshot: Snapshot) -> tuple[Node, str, str] | None:
        """The node, its namespace, and the address in it that is of the service network's first family."""
        local = self._agents.local(snapshot)
        networks = addressing.parse_networks(snapshot.lab.spec.serviceCIDR) if local else ()
        for node in snapshot.all(Node).values():
            hosts = [a for a in node.addresses if networks and (":" in a) == (networks[0].version == 6)]
            if node.name in local and not node.metadata.deletionTimestamp and hosts:
                return node, namespace_of(snapshot.lab.name, node.name, snapshot.lab.spec.machines), hosts[0]
        return None

    async def _tell(self, node: Node, address: str) -> None:
        def changed(stored: Node) -> Node:
            annotations = {**stored.metadata.annotations, ADDRESS: address}
            return msgspec.structs.replace(
                stored, metadata=msgspec.structs.replace(stored.metadata, annotations=annotations)
            )

        with contextlib.suppress(NotFoundError):
            await self._cluster.edit(node, changed)

    async def _close(self) -> None:
        listener, serving = self._listener, self._serving
        self._listener = self._serving = None
        if serving is not None:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
        if listener is not None:
            listener.close()


def _nowhere(snapshot: Snapshot) -> str:
    first = addressing.parse_networks(snapshot.lab.spec.serviceCIDR)[0]
    lack = f"no node of this machine has an IPv{first.version} address, as the Service kubernetes has ({first})"
    return f"the API cannot be reached from pods: {lack}"


def _with_authority(pem: str, stored: ConfigMap) -> ConfigMap:
    return msgspec.structs.replace(stored, data={**stored.data, CLIENT_CA_FILE: pem})
