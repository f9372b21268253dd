"""The power of nodes that are namespaces, taken and given back."""

from __future__ import annotations

from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import UnsupportedError
from k8snetlab.lab.table import answers
from k8snetlab.messages.nodes import START, STOP, NodeName, Powered
from k8snetlab.running.agents import Agents
from k8snetlab.running.switching import Switching


class Powering:
    def __init__(self, cluster: Cluster, agents: Agents, switching: Switching) -> None:
        self._cluster, self._agents, self._switching = cluster, agents, switching

    @answers(STOP)
    async def stop(self, asked: NodeName) -> Powered:
        """Raises UnsupportedError in a lab of machines."""
        already = self._is_off(asked.node)
        await self._switching.off(asked.node)
        return Powered(asked.node, False, self._agents.power.off.get(asked.node, 0.0), already)

    @answers(START)
    async def start(self, asked: NodeName) -> Powered:
        if not self._is_off(asked.node):
            return Powered(asked.node, True, already=True)
        await self._switching.on(asked.node)
        task = self._agents.node(asked.node)
        return Powered(
            asked.node, True, warning=f"{asked.node}: {task.state.error}" if task and task.state.error else ""
        )

    def _is_off(self, name: str) -> bool:
        self._cluster.snapshot.node(name)
        if self._agents.here:
            raise UnsupportedError(
                f"{name} is a machine, and its power is not the lab's to switch",
                "kill its daemon, or switch the machine off: the lab takes it for lost after 40 s",
            )
        return name in self._agents.power.off
