"""Pausing a node's agent, and having it go on."""

from __future__ import annotations

from k8snetlab.api.core import Node
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.lab.table import answers
from k8snetlab.messages.nodes import PAUSE, RESUME, NodeName, Paused
from k8snetlab.running.agents import Agents, is_paused, with_pause

STOPPING = 10.0
"""Seconds that `pause` waits for a sync that is under way."""


class Pausing:
    def __init__(self, cluster: Cluster, agents: Agents) -> None:
        self._cluster, self._agents = cluster, agents

    @answers(PAUSE)
    async def pause(self, asked: NodeName) -> Paused:
        return await self._paused(asked.node, True)

    @answers(RESUME)
    async def resume(self, asked: NodeName) -> Paused:
        return await self._paused(asked.node, False)

    async def _paused(self, name: str, paused: bool) -> Paused:
        """Kept in the Node, so that the pause outlives the daemon. An agent of this machine has stopped when this
        returns.

        Waits for nobody's request, and for no longer than STOPPING for a sync that is under way.
        """
        node = self._cluster.snapshot.node(name)
        await self._cluster.edit(node, lambda stored: with_pause(stored, paused))
        warning = ""
        if task := self._agents.node(name):
            stored = self._cluster.snapshot.get(Node, name)
            task.keep_pause(is_paused(stored) if stored else paused)
            if paused and not await task.rests(STOPPING):
                warning = f"{name}: a repair that had begun before is still under way"
        return Paused(name, paused, warning)
