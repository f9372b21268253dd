"""The control plane as this machine's daemon sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

from k8snetlab.addons.plane import balanced
from k8snetlab.api.coordination import Lease
from k8snetlab.api.core import Node
from k8snetlab.api.inside import ADDRESS
from k8snetlab.api.lab import Lab
from k8snetlab.api.plane import API
from k8snetlab.api.renewal import renewed
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.controllers.leaders import MANAGER, SCHEDULER, SYSTEM
from k8snetlab.explain import apiservers
from k8snetlab.lab.table import answers
from k8snetlab.messages.controlplane import (
    CONTROL_PLANE,
    AgentLag,
    ApiServerState,
    ControlPlane,
    LeaderState,
    MemberState,
)
from k8snetlab.messages.verb import Nothing
from k8snetlab.running.agent_task import AgentTask
from k8snetlab.running.agents import Agents
from k8snetlab.state.paths import LabPaths
from k8snetlab.state.plane import opener
from k8snetlab.state.store_spec import read_spec
from k8snetlab.store.protocol import Member

Members = Callable[[], Awaitable[list[Member]]]


class ControlPlaneState:
    def __init__(self, cluster: Cluster, agents: Agents, paths: LabPaths, members: Members | None = None) -> None:
        """`members` asks those of an etcd."""
        self._cluster, self._agents, self._paths, self._members = cluster, agents, paths, members
        self._spec = read_spec(paths)

    @answers(CONTROL_PLANE)
    async def control_plane(self, _: Nothing) -> ControlPlane:
        snapshot, health = self._cluster.snapshot, self._cluster.informer.health()
        own = bool(snapshot.all(Lab)) and bool(snapshot.lab.spec.controlPlane.replicas)
        found, servers = await asyncio.gather(self._asked(), asyncio.gather(*self._servers(snapshot, own)))
        newest = max((one.revision for one in found), default=0)
        return ControlPlane(
            leaders=tuple(_leaders(snapshot)),
            servers=tuple(servers),
            etcd=tuple(_member(one, newest) for one in found),
            balancer=f"{balanced(snapshot.lab)}:{API}" if own else "",
            store=self._spec.type,
            members=self._spec.endpoints or (str(self._paths.store),),
            healthy=health.healthy,
            revision=snapshot.revision,
            agents=tuple(_lag(task, snapshot) for task in self._agents.tasks),
            problem=health.problem,
        )

    async def _asked(self) -> list[Member]:
        return await self._members() if self._members else []

    def _servers(self, snapshot: Snapshot, own: bool) -> Iterator[Awaitable[ApiServerState]]:
        for node in snapshot.all(Node).values():
            if address := node.metadata.annotations.get(ADDRESS):
                yield self._server(node.name, address, own)

    async def _server(self, node: str, address: str, own: bool) -> ApiServerState:
        ca = self._paths.api_pki / "ca.crt"
        why = await asyncio.to_thread(apiservers.problem, opener(self._paths.lab), address, ca) if own else ""
        return ApiServerState(node, address, why)


def _member(one: Member, newest: int) -> MemberState:
    behind = max(0, newest - one.revision) if not one.problem else 0
    return MemberState(one.endpoint, one.leads, one.term, one.index, one.revision, behind, one.problem)


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
