"""The node agents of this machine, one for each node on it, and one for the router, where the nodes are namespaces."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec

from k8snetlab.addons.home import Home
from k8snetlab.agent.misses import MissResponder
from k8snetlab.agent.node import NodeAgent
from k8snetlab.agent.protocol import Surroundings
from k8snetlab.agent.report import RULES, Report
from k8snetlab.agent.router import RouterAgent
from k8snetlab.agent.steps import Steps
from k8snetlab.api import plane
from k8snetlab.api.core import Node
from k8snetlab.api.lab import Lab
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.dataplane.holds import NONE, Holds
from k8snetlab.dataplane.names import ROUTER, node_netns
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel.maker import Maker
from k8snetlab.render.proxy import Shared
from k8snetlab.running.agent_task import AgentTask
from k8snetlab.running.looks import Looks
from k8snetlab.state.ledger import Ledger, let_begin
from k8snetlab.state.machine import Machine
from k8snetlab.state.paths import LabPaths
from k8snetlab.state.power import Power
from k8snetlab.store.keys import Keys
from k8snetlab.supervision import Supervisor

log = logging.getLogger(__name__)
HEAD_START = 0.5
"""Seconds that new nodes have before the others learn of them: who asks for the address of one that does not have it
yet asks again after a whole second (net.ipv4.neigh.*.retrans_time_ms)."""
AT_ONCE = (os.cpu_count() or 1) + 4
"""Agents that sync, in threads of their own: who asks the daemon does not wait behind the nodes of a large lab."""
PAUSED = "k8snetlab/paused"
"""Annotation of a Node whose agent is paused."""


def with_pause(node: Node, paused: bool) -> Node:
    others = {key: value for key, value in node.metadata.annotations.items() if key != PAUSED}
    annotations = others | {PAUSED: "true"} if paused else others
    return msgspec.structs.replace(node, metadata=msgspec.structs.replace(node.metadata, annotations=annotations))


def is_paused(node: Node) -> bool:
    return node.metadata.annotations.get(PAUSED) == "true"


class Agents:
    """One task per node of this machine, kept in step with the Node objects."""

    def __init__(
        self,
        cluster: Cluster,
        ledger: Ledger,
        paths: LabPaths,
        synced: Callable[[AgentTask, Report], None],
        supervisor: Supervisor,
        *,
        machine: Machine | None = None,
        keys: Keys | None = None,
    ) -> None:
        self._cluster, self._ledger, self._paths, self._synced = cluster, ledger, paths, synced
        self._supervisor, self._machine, self._keys = supervisor, machine, keys
        self.power = Power(paths.power)
        self._shared, self._steps = Shared(), Steps(lambda: cluster.snapshot)
        self.misses = MissResponder(supervisor)
        self._maker = Maker(partial(let_begin, ledger=ledger, role="maker"))
        self.router: AgentTask | None = None
        self.nodes: dict[str, AgentTask] = {}
        """Those of nodes that are going too, until they have gone."""
        self._going: set[str] = set()
        self._adopted = False
        self._keeping, self._looks = asyncio.Lock(), Looks()
        self._threads = ThreadPoolExecutor(AT_ONCE, "agents")
        self.held: Holds = NONE
        """What agents leave as it is from their beginning; `hold` changes it later."""

    @property
    def variant(self) -> str:
        """The iptables variant of the nodes, "" before the first sync of any."""
        return next(filter(None, (task.agent.variant for task in self.nodes.values())), "")

    @property
    def tasks(self) -> list[AgentTask]:
        return [*([self.router] if self.router else []), *self.nodes.values()]

    def node(self, name: str) -> AgentTask | None:
        return self.nodes.get(name)

    @property
    def here(self) -> str:
        """The node that this machine is; "" where nodes are namespaces of it."""
        return self._machine.node if self._machine else ""

    def local(self, snapshot: Snapshot) -> set[str]:
        """The names of the nodes that this machine carries: all with power, or, as a machine among others, itself."""
        names = {name for _, name in snapshot.all(Node)} - self.power.off.keys()
        if not any(lab.spec.machines for lab in snapshot.all(Lab).values()):
            return names if self._machine is None else set()
        return names & {self._machine.node} if self._machine else set()

    async def hold(self, held: Holds) -> None:
        """Has all agents, those to come too, leave these objects as they are, and no others."""
        async with self._keeping:
            self.held = held
            for task in self.tasks:
                await task.hold(held)

    async def unplug(self, name: str) -> None:
        """Ends the work of a node without power, and pulls its cable; `follow` takes the rest of it away."""
        async with self._keeping:
            if task := self.nodes.get(name):
                await task.halt()
            if self.router:
                self._without_power(self.router)
                await self.router.sync()

    def _without_power(self, router: AgentTask) -> None:
        if isinstance(router.agent, RouterAgent):
            router.agent.without = frozenset(node_netns(self._paths.lab, name) for name in self.power.off)

    async def run(self) -> None:
        async for _ in self._cluster.changes():
            await self.follow()

    async def follow(self) -> None:
        """Keeps the agents in step with the snapshot, and wakes them."""
        async with self._keeping:
            snapshot = await self._cluster.whole()
            names = sorted(self.local(snapshot))
            if not self._adopted and snapshot.all(Lab):
                self._adopted = True
                self._adopt(names)
            if names or self.nodes:
                await self._keep(snapshot, names)
            for node in self._cluster.snapshot.all(Node).values():  # of which one may have been paused meanwhile
                if (task := self.nodes.get(node.name)) and node.name not in self._going:
                    task.keep_pause(is_paused(node))
            for task in self.tasks:
                task.follow()

    def all_synced(self, snapshot: Snapshot, since: float) -> bool:
        """Whether every agent that is not paused has `snapshot` in the kernel, or one taken later than `since`."""
        return all(
            task.has(snapshot) or task.state.paused or (task.state.began >= since and RULES not in task.state.pending)
            for task in self.tasks
        )

    async def close(self) -> None:
        for task in self.tasks:
            await task.stop()
        self.misses.close()
        await asyncio.to_thread(self._maker.close)

    async def _keep(self, snapshot: Snapshot, names: list[str]) -> None:
        if self.router is None and self._machine is None:
            self.router = self._task(RouterAgent(self._around(ROUTER)))
        if self.router:
            self._without_power(self.router)
        new = [name for name in names if name not in self.nodes]
        for name in [name for name in self.nodes if name not in names and name not in self._going]:
            self._going.add(name)
            self._supervisor.finish(f"removal of node {name}", partial(self._remove, name))
        for name in new:
            self.nodes[name] = self._task(self._agent(name))
        if new:
            # The router plugs cables into the nodes' namespaces, and flannel.1 stands on such a cable: namespaces
            # first, then the router, then the nodes.
            await asyncio.to_thread(self._prepare, new, snapshot)
            if self.router:
                await self.router.sync()
        for task in self.tasks:
            if task.name not in self._going:
                task.start()
        if 0 < len(new) < len(self.nodes):
            first = {self._supervisor.finish(f"first sync of {name}", self.nodes[name].sync) for name in new}
            await asyncio.wait(first, timeout=HEAD_START)

    def _task(self, agent: NodeAgent | RouterAgent) -> AgentTask:
        task = AgentTask(
            agent, self._cluster, self._reported, self._supervisor, looks=self._looks, threads=self._threads
        )
        if self.held:
            task.held(self.held)
        return task

    def _agent(self, name: str) -> NodeAgent:
        return NodeAgent(self._around(name), make_sandboxes=self._maker.make)

    def _around(self, name: str) -> Surroundings:
        paths, group = self._paths, Path(self._ledger.cgroup) if self._ledger.cgroup else None
        around = Surroundings(
            name,
            self._ledger,
            paths.xtables_locks,
            shared=self._shared,
            misses=self.misses,
            addons=Home(paths.addons, paths.kubelet_socket, paths.flannel, group, self._keys),
            wake=partial(self._wake_from_thread, asyncio.get_running_loop(), name),
        )
        around.steps = self._steps
        return around

    def _wake_from_thread(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        with contextlib.suppress(RuntimeError):  # the daemon has ended
            loop.call_soon_threadsafe(self._wake, name)

    def _wake(self, name: str) -> None:
        if task := self.router if name == ROUTER else self.nodes.get(name):
            task.wake()

    def _adopt(self, names: Iterable[str]) -> None:
        """Nodes that an earlier daemon made, and that went from the store when it could not unmake them, are to go."""
        own = plane.names(self._cluster.snapshot.lab.spec)  # which are there before anything else, their Nodes included
        made = {owned.node for owned in self._ledger.namespaces.values()} - {"", ROUTER, *names, *own}
        if self._machine is None:
            self.nodes |= {name: self._task(self._agent(name)) for name in sorted(made)}

    def _reported(self, task: AgentTask, report: Report) -> None:
        if report.unplugged and self.router is not None:
            self.router.agent.suspect()
            self.router.wake()
        self._synced(task, report)

    def _prepare(self, names: list[str], snapshot: Snapshot) -> None:
        for name in names:
            try:
                self.nodes[name].agent.prepare(snapshot)
            except K8sNetLabError as error:  # its first sync says so
                log.warning("namespace of %s: %s", name, error.message)

    async def _remove(self, name: str) -> None:
        """Removes a node that went; a failure stays with it. If it comes back meanwhile, it is created again."""
        await self.nodes[name].remove()
        del self.nodes[name]
        self._going.discard(name)
        await self.follow()
