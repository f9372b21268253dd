"""How far the other machines of a lab are: whether what was written is in their kernels too."""

from __future__ import annotations

import asyncio

from k8snetlab.api.core import Node
from k8snetlab.api.machines import other_machines
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import DaemonError, K8sNetLabError
from k8snetlab.messages.nodes import AGENTS, AgentsQuestion, FailingAgent, Reached
from k8snetlab.peers.requests import Remote

ANSWER_TIMEOUT = 3.0
"""Seconds in which another machine must begin to answer."""


class Pace:
    """Asks every other machine, again and again, for as long as the block lasts; `look` begins with those that are new.

    What must have been reached everywhere is all that this daemon has written, and what others have written since.
    """

    def __init__(self, cluster: Cluster, remote: Remote, revision: int = 0) -> None:
        self._cluster, self._remote, self._revision = cluster, remote, revision
        self._said: dict[str, Reached | K8sNetLabError] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, int] = {}

    async def __aenter__(self) -> Pace:
        self.look()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    def look(self) -> None:
        """Follows the machines that there are now; one that the lab has lost is not asked."""
        for node in other_machines(self._cluster.snapshot.all(Node).values(), self._remote.node):
            if _is_lost(node):
                self._said[node.name] = DaemonError(f"{node.name} is lost: nothing has been heard of it for a while")
            elif node.name not in self._asking:
                self._asking[node.name] = asyncio.create_task(self._follow(node.name))

    @property
    def needed(self) -> int:
        written = [said.written for said in self._said.values() if isinstance(said, Reached)]
        return max(self._revision, self._cluster.informer.written, *written, 0)

    @property
    def silent(self) -> dict[str, str]:
        """The machines that do not answer, and what is to be said of each."""
        return {node: said.message for node, said in self._said.items() if isinstance(said, K8sNetLabError)}

    @property
    def behind(self) -> list[str]:
        """The machines that answer, or may yet, and have not reached all that is needed."""
        needed = self.needed
        ahead = {
            n for n, said in self._said.items() if isinstance(said, Reached) and said.synced and said.revision >= needed
        }
        return [node for node in self._asking if node not in ahead and node not in self.silent]

    @property
    def machines(self) -> int:
        return len(self._asking)

    @property
    def failing(self) -> list[FailingAgent]:
        """The agents that have failed again since they were first asked of."""
        said = [agent for one in self._said.values() if isinstance(one, Reached) for agent in one.failing]
        return [agent for agent in said if agent.failures > self._failures.setdefault(agent.name, agent.failures)]

    async def caught_up(self, seconds: float) -> bool:
        """Waits until no machine that answers is behind, no longer than `seconds`."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self.behind and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        return not self.behind

    async def _follow(self, node: str) -> None:
        while True:
            wanted = self.needed
            try:
                said = await self._remote.ask(node, AGENTS, AgentsQuestion(wanted), patience=ANSWER_TIMEOUT)
                self._said[node] = said
            except K8sNetLabError as error:
                self._said[node] = error
                await asyncio.sleep(1)
                continue
            while said.synced and self.needed == wanted:
                await asyncio.sleep(0.01)


def _is_lost(node: Node) -> bool:
    return any(c.type == "Ready" and c.status == "Unknown" for c in node.status.conditions)
