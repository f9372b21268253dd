"""How far a lab is: its status, that of its store, and, for other machines, what is in the kernel already."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable

from msgspec.structs import astuple

from k8snetlab import __version__
from k8snetlab.api.core import Node, Pod, Service
from k8snetlab.api.pod_state import trouble
from k8snetlab.api.pools import subnets_of
from k8snetlab.api.scheme import RESOURCES
from k8snetlab.api.selection import is_proxied_by_guest, pods_by_node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.diagnose.events import warnings
from k8snetlab.errors import K8sNetLabError
from k8snetlab.explain import daemons
from k8snetlab.lab.table import answers
from k8snetlab.lab.where import remote_nodes
from k8snetlab.machines.leases import Leases
from k8snetlab.messages.nodes import AGENTS, AgentsQuestion, FailingAgent, Reached
from k8snetlab.messages.status import (
    STATUS,
    AgentStatus,
    DaemonStatus,
    KubeletStatus,
    LabStatus,
    NodeStatus,
    PodCount,
    StoreHealth,
    TaskFailure,
)
from k8snetlab.messages.store import DUMP, STORE_STATUS, DumpQuestion, KeyValue, StoreStatus
from k8snetlab.messages.verb import Nothing
from k8snetlab.running import turning
from k8snetlab.running.agent_task import AgentTask
from k8snetlab.running.agents import Agents, is_paused
from k8snetlab.running.kubelet_link import KubeletLink
from k8snetlab.state.paths import LabPaths
from k8snetlab.state.store_spec import read_spec
from k8snetlab.supervision import Supervisor

LOOK = 0.5
"""Seconds that `status` waits for an agent that is at work."""
WAIT = 1.0
"""Seconds for which another machine's question how far this one is may be left open."""


class Standing:
    """What this machine's daemon knows of the lab and of its own work."""

    def __init__(
        self,
        cluster: Cluster,
        agents: Agents,
        paths: LabPaths,
        *,
        kubelet: KubeletLink,
        leases: Leases,
        supervisor: Supervisor,
        others: Callable[[Snapshot], list[str]] = lambda _: [],
    ) -> None:
        """`others` says what keeps pods from the API, and nginx from what Ingresses ask for."""
        self._others = others
        self._cluster, self._agents, self._paths = cluster, agents, paths
        self._kubelet, self._leases, self._supervisor = kubelet, leases, supervisor
        self._store_spec = read_spec(paths)
        self._began = time.time()

    @answers(STATUS)
    async def status(self, _: Nothing) -> LabStatus:
        snapshot = self._cluster.snapshot
        nodes = await asyncio.gather(*(self._node_status(node) for node in snapshot.all(Node).values()))
        router = self._agents.router
        problems = [f"{node.name}: {node.agent.error}" for node in nodes if node.agent.error]
        problems += [f"{n.name}: it has no power (`k8snetlab node start {n.name}`)" for n in nodes if n.off]
        if router is not None and router.state.error:
            problems.append(f"router: {router.state.error}")
        problems += [f"{task.name}: {warning}" for task in self._agents.tasks for warning in task.state.warnings]
        problems += self._kubelet.problems.values()
        problems += self._others(snapshot)
        pods = list(snapshot.all(Pod).values())
        first = len(problems)
        of_pods, told = await asyncio.to_thread(_troubles, snapshot)
        problems += of_pods.values()
        health = self._cluster.informer.health()
        if not health.healthy:
            problems.append(f"store: {health.problem}; what is in the kernel stays as it is")
        problems += [f"{key}: {problem}" for key, problem in self._cluster.informer.problems.items()]
        problems += self._leases.problems.values()
        failures = self._supervisor.failures
        problems += map(str, failures)
        problems += map(str, self._cluster.failing)
        routers = await asyncio.to_thread(daemons.routers, snapshot, self._paths)
        others = problems[:first] + problems[first + len(of_pods) :]
        problems += [
            one
            for one in told
            if not _repeats(one, of_pods.get(one.partition(": ")[0], ""))
            and not any(_repeats(one, known) for known in others)
        ]
        spec, health = self._store_spec, self._cluster.informer.health()
        return LabStatus(
            lab=self._paths.lab,
            nodes=tuple(nodes),
            pods=PodCount(sum(p.ready for p in pods), len(pods)),
            services=len(snapshot.all(Service)),
            daemon=DaemonStatus(
                os.getpid(),
                __version__,
                round(time.time() - self._began, 1),
                round(turning.longest_turn(), 4),
            ),
            kubelet=KubeletStatus(self._kubelet.pid),
            store=StoreHealth(
                type=spec.type,
                insecure=spec.open,
                revision=snapshot.revision,
                healthy=health.healthy,
                age=health.age,
                problem=health.problem,
            ),
            iptables=self._agents.variant,
            failures=tuple(TaskFailure(*astuple(failure)) for failure in failures),
            controllers=tuple(self._cluster.failing),
            problems=tuple(problems),
            routers=routers,
        )

    @answers(STORE_STATUS)
    async def store_status(self, _: Nothing) -> StoreStatus:
        snapshot, spec, health = self._cluster.snapshot, self._store_spec, self._cluster.informer.health()
        counts = {resource.plural: len(snapshot.all(resource.type)) for resource in RESOURCES}
        return StoreStatus(
            type=spec.type,
            insecure=spec.open,
            where=spec.endpoints or (str(self._paths.store),),
            revision=snapshot.revision,
            objects={plural: count for plural, count in counts.items() if count},
            healthy=health.healthy,
            age=health.age,
            problem=health.problem,
        )

    @answers(DUMP)
    async def dump(self, asked: DumpQuestion) -> AsyncIterator[KeyValue]:
        async for entry in self._cluster.dump(asked.prefix):
            yield entry

    @answers(AGENTS)
    async def reached(self, asked: AgentsQuestion) -> Reached:
        """As soon as all up to the revision is in this machine's kernel, or after WAIT seconds."""
        revision = asked.revision
        deadline = time.monotonic() + WAIT
        while True:
            settled = asyncio.ensure_future(self._cluster.settled())
            await asyncio.wait({settled}, timeout=max(0.0, deadline - time.monotonic()))
            snapshot, tasks = self._cluster.snapshot, self._agents.tasks
            synced = settled.done() and snapshot.revision >= revision
            synced = synced and self._agents.nodes.keys() == self._agents.local(snapshot)
            synced = synced and all(task.has(snapshot) or task.state.paused for task in tasks)
            settled.cancel()
            if synced or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.01)
        failing = [
            FailingAgent(task.name, state.failures, state.error, state.hint, state.operation)
            for task in tasks
            if (state := task.state).failures
        ]
        return Reached(revision, synced, self._cluster.informer.written, tuple(failing))

    async def _node_status(self, node: Node) -> NodeStatus:
        task, here = self._agents.node(node.name), node.name not in remote_nodes(self._cluster.snapshot, self._agents)
        pods = self._cluster.snapshot.select(Pod, pods_by_node, node.name)
        off = self._agents.power.off.get(node.name, 0.0)
        return NodeStatus(
            name=node.name,
            address=",".join(node.addresses),
            podCIDR=",".join(subnets_of(node)),
            ready=any(c.type == "Ready" and c.status == "True" for c in node.status.conditions),
            paused=bool(task and task.state.paused) if here else is_paused(node),
            pods=len(pods),
            proxy="external" if is_proxied_by_guest(self._cluster.snapshot, node.name) else "iptables",
            off=off,
            answers=here,
            agent=await self._agent_status(task, "no agent" if here and not off else ""),
        )

    async def _agent_status(self, task: AgentTask | None, why: str) -> AgentStatus:
        if task is None:
            return AgentStatus(synced=False, lastSync=0.0, error=why)
        state = task.state
        try:
            drift = await task.drift(LOOK)
        except K8sNetLabError as error:
            drift = [error.message]
        return AgentStatus(
            synced=task.has(self._cluster.snapshot) and not drift and not state.error,
            revision=state.snapshot.revision if state.snapshot else -1,
            lastSync=state.synced_at,
            seconds=round(state.seconds, 4),
            operations=state.operations,
            error=state.error,
            operation=state.operation,
            drift=tuple(drift),
            managers=state.managers,
        )


def _troubles(snapshot: Snapshot) -> tuple[dict[str, str], list[str]]:
    """What is wrong with pods, by "pod NAMESPACE/NAME", and what Events warn of. Of 20,000 pods that takes seconds."""
    pods = {f"pod {pod.namespace}/{pod.name}": trouble(pod) for pod in snapshot.all(Pod).values()}
    return {what: f"{what}: {why}" for what, why in pods.items() if why}, list(warnings(snapshot))


def _repeats(told: str, known: str) -> bool:
    """Whether a problem says already what an Event tells of the same object."""
    about, _, rest = told.partition(": ")
    reason, _, message = rest.partition(": ")
    if not known.startswith(f"{about}: "):
        return about in known and message in known
    return message in known or reason in ("BackOff", "Failed")
