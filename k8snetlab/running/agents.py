"""The node agents of this machine, one for each node on it, and one for the router, where the nodes are namespaces:
woken by objects, kernel and time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import msgspec

from k8snetlab.agent.misses import MissResponder
from k8snetlab.agent.node import NodeAgent
from k8snetlab.agent.protocol import AddOnHome, Surroundings
from k8snetlab.agent.report import Report
from k8snetlab.agent.router import RouterAgent
from k8snetlab.api.core import Node
from k8snetlab.api.lab import Lab
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.dataplane.names import ROUTER
from k8snetlab.errors import K8sNetLabError
from k8snetlab.messages.status import ManagerStatus
from k8snetlab.render.proxy import Shared
from k8snetlab.state.ledger import Ledger
from k8snetlab.state.machine import Machine
from k8snetlab.state.paths import LabPaths
from k8snetlab.supervision import Supervisor

log = logging.getLogger(__name__)
TICK = 1.0
"""Seconds between two looks at iptables and sysctls; netlink reports everything else."""
REST, LONGEST_REST = 10, 1.0
"""A look at a machine's own namespace that found nothing to do is followed by a rest of so many times its length, and
of that many seconds at most: most of what happens there is not the lab's, and may happen all the time."""
HEAD_START = 0.5
"""Seconds that new nodes have before the others learn of them: who asks for the address of one that does not have it
yet asks again after a whole second (net.ipv4.neigh.*.retrans_time_ms)."""
BACKOFF = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds before a failed sync is tried again."""


PAUSED = "k8snetlab/paused"
"""Annotation of a Node whose agent is paused."""


def with_pause(node: Node, paused: bool) -> Node:
    others = {key: value for key, value in node.metadata.annotations.items() if key != PAUSED}
    annotations = others | {PAUSED: "true"} if paused else others
    return msgspec.structs.replace(node, metadata=msgspec.structs.replace(node.metadata, annotations=annotations))


def is_paused(node: Node) -> bool:
    return node.metadata.annotations.get(PAUSED) == "true"


class AgentState(msgspec.Struct):
    """What `status` says of an agent.

    `snapshot` is the last one that is fully in the kernel, `sandboxes` the last whose pods have theirs even if
    something else was refused, taken from the cluster at `began` (seconds, monotonic); `synced_at` is in epoch seconds.
    """

    snapshot: Snapshot | None = None
    sandboxes: Snapshot | None = None
    began: float = 0.0
    synced_at: float = 0.0
    seconds: float = 0.0
    operations: int = 0
    error: str = ""
    hint: str = ""
    operation: str = ""
    warnings: tuple[str, ...] = ()
    managers: tuple[ManagerStatus, ...] = ()
    failures: int = 0
    failed: float = 0.0
    paused: bool = False


class AgentTask:
    """Runs one agent: blocking work in a thread, one sync at a time, always with the newest snapshot."""

    def __init__(
        self,
        agent: NodeAgent | RouterAgent,
        cluster: Cluster,
        synced: Callable[[AgentTask, Report], None],
        supervisor: Supervisor,
    ) -> None:
        self.agent, self._cluster, self._synced = agent, cluster, synced
        self.state = AgentState()
        self._supervisor = supervisor
        self._wake = asyncio.Event()
        self._work = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._complaint = ""
        self._rests_until = 0.0
        self._looked = -math.inf
        """When the rules were last seen to be as they were left (seconds, monotonic)."""
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        return self.agent.name

    def has(self, snapshot: Snapshot) -> bool:
        """Whether exactly these objects are in the kernel."""
        return self.state.snapshot is not None and self.state.snapshot.objects is snapshot.objects

    def start(self) -> None:
        if self._task is None:
            asyncio.get_running_loop().add_reader(self.agent.monitors.fileno(), self._kernel_event)
            self._task = self._supervisor.keep(f"agent {self.name}", self._run)

    def wake(self) -> None:
        self._wake.set()

    async def stop(self) -> None:
        """Ends the task and leaves the kernel as it is."""
        await self._halt()
        self.agent.close()

    async def remove(self) -> None:
        """Ends the task and deletes the node's namespaces; may be tried again when it is refused (K8sNetLabError)."""
        await self._halt()
        try:
            async with self._work:
                await asyncio.to_thread(self.agent.remove)
        except K8sNetLabError as error:
            self._failed(time.monotonic(), error.message, error.hint, getattr(error, "operation", ""))
            raise

    async def _halt(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            asyncio.get_running_loop().remove_reader(self.agent.monitors.fileno())
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._alarm is not None:
            self._alarm.cancel()
        async with self._work:
            pass  # a sync that was begun ends

    def keep_pause(self, paused: bool) -> None:
        """Stops or starts the repairs, where that is new."""
        if paused == self.state.paused:
            return
        self.state.paused = paused
        if paused:
            self.agent.pause()
        else:
            self.agent.resume()
            self._suspect()
            self.wake()

    async def rests(self, seconds: float) -> bool:
        """Whether no work is under way, or ends within `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._work:
                return True
        return False

    async def drift(self, patience: float = math.inf) -> list[str]:
        """What differs from what is desired now, as the commands that would mend it. Nothing while other work takes
        longer than `patience` seconds: what is being changed is no drift."""
        try:
            async with asyncio.timeout(None if patience == math.inf else patience):
                await self._work.acquire()
        except TimeoutError:
            return []
        try:
            return await asyncio.to_thread(self.agent.drift, self._cluster.snapshot)
        finally:
            self._work.release()

    async def sync(self) -> None:
        """Syncs with the newest snapshot; the outcome is in `state`."""
        async with self._work:
            snapshot = self._cluster.snapshot
            began = time.monotonic()
            trusting = began - self._looked < TICK
            try:
                report = await asyncio.to_thread(self.agent.sync, snapshot, trusting)
            except K8sNetLabError as error:
                self._failed(began, error.message, error.hint, getattr(error, "operation", ""))
                return
            except Exception as error:
                log.exception("agent %s", self.name)
                hint = "this is a bug; the daemon's log has it whole"
                self._failed(began, f"{type(error).__name__}: {error}", hint, "")
                return
            if not trusting:
                self._looked = began
            self.state = AgentState(
                snapshot=self.state.snapshot if report.failure else snapshot,
                sandboxes=snapshot,
                began=began,
                synced_at=time.time(),
                seconds=time.monotonic() - began,
                operations=self.state.operations + report.operations,
                warnings=report.warnings,
                managers=report.managers,
                failures=self.state.failures if report.failure else 0,
                paused=self.state.paused,
            )
        rest = 0.0 if report.operations else min(REST * self.state.seconds, LONGEST_REST)
        self._rests_until = asyncio.get_running_loop().time() + rest
        # What one manager cannot do is in nobody's way: pods run, and only then this agent has failed.
        self._synced(self, report)
        if report.failure:
            self._failed(began, report.failure.message, report.failure.hint, report.failure.operation)

    async def _run(self) -> None:
        while True:
            delay = BACKOFF[min(self.state.failures, len(BACKOFF)) - 1] if self.state.failures else TICK
            try:
                # Not wait_for: that of Python 3.11 forgets a cancellation that comes together with the event.
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                if self.state.paused or (not self.state.failures and not await self._noticed_change()):
                    continue
            self._wake.clear()
            if not self.state.paused:
                await self.sync()

    async def _noticed_change(self) -> bool:
        async with self._work:
            began = time.monotonic()
            try:
                changed = await asyncio.to_thread(self.agent.noticed_change)
            except K8sNetLabError:
                changed = True
            self._looked = -math.inf if changed else began
            return changed

    def _suspect(self) -> None:
        self.agent.suspect()
        self._looked = -math.inf

    def _failed(self, began: float, message: str, hint: str, operation: str) -> None:
        if message != self._complaint:
            log.warning("agent %s: %s %s", self.name, message, operation)
        self._complaint = message
        self.state.error, self.state.hint, self.state.operation = message, hint, operation
        self.state.failures += 1
        self.state.failed = began
        self._suspect()
        self._synced(self, Report())

    def _kernel_event(self) -> None:
        for name in self.agent.monitors.changed():
            self._changed(name)

    def _changed(self, name: str) -> None:
        self.agent.mark(name)
        loop = asyncio.get_running_loop()
        if name or loop.time() >= self._rests_until:
            self._wake.set()
        elif self._alarm is None:
            self._alarm = loop.call_at(self._rests_until, self._rested)

    def _rested(self) -> None:
        self._alarm = None
        self._wake.set()


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
    ) -> None:
        self._cluster, self._ledger, self._paths, self._synced = cluster, ledger, paths, synced
        self._supervisor, self._machine = supervisor, machine
        self._shared = Shared()
        self.misses = MissResponder(supervisor)
        self.router: AgentTask | None = None
        self.nodes: dict[str, AgentTask] = {}
        """Those of nodes that are going too, until they have gone."""
        self._going: set[str] = set()
        self._adopted = False
        self._keeping = asyncio.Lock()

    @property
    def variant(self) -> str:
        """The iptables variant of the nodes, "" before the first sync."""
        return next((task.agent.variant for task in self.nodes.values()), "")

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
        """The names of the nodes that this machine carries: all, or, as a machine among others, itself."""
        names = {name for _, name in snapshot.all(Node)}
        if not any(lab.spec.machines for lab in snapshot.all(Lab).values()):
            return names if self._machine is None else set()
        return names & {self._machine.node} if self._machine else set()

    async def run(self) -> None:
        async for _ in self._cluster.changes():
            await self._follow()

    async def _follow(self) -> None:
        """Keeps the agents in step with the snapshot, and wakes them."""
        async with self._keeping:
            snapshot = await self._cluster.whole()
            names = sorted(self.local(snapshot))
            if not self._adopted and snapshot.all(Lab):
                self._adopted = True
                self._adopt(names)
            if names or self.nodes:
                await self._keep(snapshot, names)
            for node in snapshot.all(Node).values():
                if (task := self.nodes.get(node.name)) and node.name not in self._going:
                    task.keep_pause(is_paused(node))
            for task in self.tasks:
                task.wake()

    def all_synced(self, snapshot: Snapshot, since: float) -> bool:
        """Whether every agent that is not paused has `snapshot` in the kernel, or one taken later than `since`."""
        return all(task.has(snapshot) or task.state.began >= since or task.state.paused for task in self.tasks)

    async def close(self) -> None:
        for task in self.tasks:
            await task.stop()
        self.misses.close()

    async def _keep(self, snapshot: Snapshot, names: list[str]) -> None:
        if self.router is None and self._machine is None:
            self.router = self._task(RouterAgent(self._ledger))
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
        for name, task in [*([("", self.router)] if self.router else []), *self.nodes.items()]:
            if name not in self._going:
                task.start()
        if 0 < len(new) < len(self.nodes):
            first = {self._supervisor.finish(f"first sync of {name}", self.nodes[name].sync) for name in new}
            await asyncio.wait(first, timeout=HEAD_START)

    def _task(self, agent: NodeAgent | RouterAgent) -> AgentTask:
        return AgentTask(agent, self._cluster, self._reported, self._supervisor)

    def _agent(self, name: str) -> NodeAgent:
        paths, group = self._paths, Path(self._ledger.cgroup) if self._ledger.cgroup else None
        return NodeAgent(
            Surroundings(
                name,
                self._ledger,
                paths.xtables_locks,
                shared=self._shared,
                misses=self.misses,
                addons=AddOnHome(paths.addons, paths.kubelet_socket, paths.flannel, group),
            )
        )

    def _adopt(self, names: Iterable[str]) -> None:
        """Nodes that an earlier daemon made, and that went from the store when it could not unmake them, are to go."""
        made = {owned.node for owned in self._ledger.namespaces.values()} - {"", ROUTER, *names}
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
        await self._follow()
