"""Nodes of a lab of namespaces that lose their power, and get it back.

The cable goes first, so that nothing that ends can say goodbye; then every process is killed, and the namespaces go, as
a kernel's tables do. Objects stay as they are: who reads them learns of it as in any cluster, when the node's Lease has
not been renewed for too long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from k8snetlab.addons.kubelet import Kubelet
from k8snetlab.addons.program import uids_of
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import DaemonError
from k8snetlab.running.agents import Agents
from k8snetlab.running.heartbeats import Heartbeats
from k8snetlab.running.lifecycle import AT_ONCE, PodLifecycle
from k8snetlab.state.paths import LabPaths

PATIENCE = 60.0
"""Seconds in which a node is gone, or is there again."""
LOOK = 0.02


class Switching:
    def __init__(self, cluster: Cluster, agents: Agents, lifecycle: PodLifecycle, paths: LabPaths) -> None:
        self._agents, self._lifecycle, self._paths = agents, lifecycle, paths
        self._heartbeats = Heartbeats(cluster, agents.power)
        self._work = asyncio.Lock()

    async def off(self, name: str) -> None:
        """Returns when nothing of the node is there. Raises DaemonError when that takes longer than PATIENCE."""
        async with self._work:
            self._agents.power.cut(name, time.time())
            self._heartbeats.look()
            await self._cut(name)

    async def on(self, name: str) -> None:
        """Returns when the node's agent has done its first work."""
        async with self._work:
            self._agents.power.give(name)
            self._heartbeats.look()
            await self._agents.follow()
            deadline = time.monotonic() + PATIENCE
            while (task := self._agents.node(name)) is None or not (task.state.synced_at or task.state.failures):
                await _waited(deadline, f"{name} is not up yet")

    @property
    def work(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """What is to run for ever, by name: nothing in a lab of machines."""
        return {} if self._agents.here else {"power of nodes": self._keep}

    async def _keep(self) -> None:
        """Ends what an earlier daemon has left of nodes that are off, and has the others' heartbeats told."""
        async with self._work:
            for name in self._agents.power.off:
                await self._cut(name)
        await self._heartbeats.keep()

    async def _cut(self, name: str) -> None:
        await self._agents.unplug(name)
        await asyncio.to_thread(self._kill_programs, name)
        await self._lifecycle.lost_power(name)
        await self._agents.follow()
        deadline = time.monotonic() + PATIENCE
        while self._agents.node(name) is not None:
            await _waited(deadline, f"{name} is not gone yet")

    def _kill_programs(self, name: str) -> None:
        kubelet = Kubelet(self._paths.kubelet_socket)
        kubelet.stop(kubelet.addons(uids_of(name)), AT_ONCE)


async def _waited(deadline: float, what: str) -> None:
    if time.monotonic() > deadline:
        raise DaemonError(f"{what} after {PATIENCE:.0f} s", "`k8snetlab status` says what is in the way")
    await asyncio.sleep(LOOK)
