"""The control plane as this machine's daemon sees it."""

from __future__ import annotations

import time
from collections.abc import Iterator

from k8snetlab.api.coordination import Lease
from k8snetlab.api.core import Node
from k8snetlab.api.inside import ADDRESS
from k8snetlab.api.renewal import renewed
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.controllers.leaders import MANAGER, SCHEDULER, SYSTEM
from k8snetlab.lab.table import answers
from k8snetlab.messages.controlplane import CONTROL_PLANE, AgentLag, ApiServerState, ControlPlane, LeaderState
from k8snetlab.messages.verb import Nothing
from k8snetlab.running.agent_task import AgentTask
from k8snetlab.running.agents import Agents
from k8snetlab.state.paths import LabPaths
from k8snetlab.state.store_spec import read_spec


class ControlPlaneState:
    def __init__(self, cluster: Cluster, agents: Agents, paths: LabPaths) -> None:
        self._cluster, self._agents = cluster, agents
        self._spec, self._file = read_spec(paths), str(paths.store)

    @answers(CONTROL_PLANE)
    async def control_plane(self, _: Nothing) -> ControlPlane:
        snapshot, health = self._cluster.snapshot, self._cluster.informer.health()
        return ControlPlane(
            leaders=tuple(_leaders(snapshot)),
            servers=tuple(
                ApiServerState(node.name, node.metadata.annotations[ADDRESS])
                for node in snapshot.all(Node).values()
                if ADDRESS in node.metadata.annotations
            ),
            store=self._spec.type,
            members=self._spec.endpoints or (self._file,),
            healthy=health.healthy,
            revision=snapshot.revision,
            agents=tuple(_lag(task, snapshot) for task in self._agents.tasks),
            problem=health.problem,
        )


def _leaders(snapshot: Snapshot) -> Iterator[LeaderState]:
    for name in (MANAGER, SCHEDULER):
        lease = snapshot.get(Lease, name, SYSTEM)
        if lease is not None:
            spec = renewed(lease, time.time()).spec
            yield LeaderState(
                name=name,
                holder=spec.holderIdentity or "",
                since=spec.acquireTime or "",
                renewed=spec.renewTime or "",
                seconds=spec.leaseDurationSeconds or 0,
                transitions=spec.leaseTransitions or 0,
            )


def _lag(task: AgentTask, snapshot: Snapshot) -> AgentLag:
    reached = task.state.snapshot.revision if task.state.snapshot else -1
    return AgentLag(task.name, reached, 0 if task.has(snapshot) else snapshot.revision - reached)
