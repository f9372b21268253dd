"""The control plane as this machine's daemon sees it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator

from k8snetlab.addons.kubelet import Kubelet
from k8snetlab.addons.plane import APISERVER, BALANCER, COMPONENTS, ETCD, balanced
from k8snetlab.api import plane
from k8snetlab.api.ages import moment
from k8snetlab.api.coordination import Lease
from k8snetlab.api.core import Node
from k8snetlab.api.inside import ADDRESS
from k8snetlab.api.lab import Lab
from k8snetlab.api.plane import API, CLIENTS
from k8snetlab.api.renewal import renewed
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.workload import ADDON, PodState
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.controllers.leaders import MANAGER, SCHEDULER, SYSTEM
from k8snetlab.dataplane.names import ROUTER
from k8snetlab.diagnose import components
from k8snetlab.errors import DaemonError
from k8snetlab.explain import apiservers
from k8snetlab.lab.table import answers
from k8snetlab.messages.controlplane import (
    CONTROL_PLANE,
    AgentLag,
    ApiServerState,
    ComponentState,
    ControlPlane,
    LeaderState,
    MachineState,
    MemberState,
)
from k8snetlab.messages.verb import Nothing
from k8snetlab.running.agent_task import AgentTask
from k8snetlab.running.agents import Agents
from k8snetlab.state.paths import LabPaths
from k8snetlab.state.plane import opener
from k8snetlab.state.store_spec import read_spec
from k8snetlab.store.protocol import LEADERLESS, Member

Members = Callable[[Collection[str] | None], Awaitable[list[Member]]]
DARK = "its node has no power"
PATIENCE = 10.0
"""Seconds that a diagnosis waits for what members say."""


class ControlPlaneState:
    def __init__(
        self, cluster: Cluster, agents: Agents, paths: LabPaths, members: Members | None = None, here: str = ""
    ) -> None:
        """`members` asks those of an etcd; `here` is the node of this machine, in a lab of machines."""
        self._cluster, self._agents, self._paths, self._members = cluster, agents, paths, members
        self._spec, self._here = read_spec(paths), here
        self._loop = asyncio.get_running_loop()

    @answers(CONTROL_PLANE)
    async def control_plane(self, _: Nothing) -> ControlPlane:
        snapshot, health = self._cluster.snapshot, self._cluster.informer.health()
        own = bool(snapshot.all(Lab)) and bool(snapshot.lab.spec.controlPlane.replicas)
        leaders = tuple(_leaders(snapshot))
        found, servers, others = await asyncio.gather(
            self._asked(snapshot, own),
            asyncio.gather(*self._servers(snapshot, own)),
            asyncio.to_thread(self._components, snapshot, leaders) if own else _none(),
        )
        return ControlPlane(
            leaders=leaders,
            servers=tuple(servers),
            etcd=tuple(found),
            balancer=f"{balanced(snapshot.lab)}:{API}" if own else "",
            store=self._spec.type,
            members=self._spec.endpoints or (str(self._paths.store),),
            healthy=health.healthy,
            revision=snapshot.revision,
            agents=tuple(_lag(task, snapshot) for task in self._agents.tasks),
            problem=health.problem,
            components=tuple(others),
            machines=(self._machine(snapshot, leaders),) if self._here else (),
        )

    def seen(self) -> components.Plane | None:
        """For a diagnosis, from another thread than the loop's; None where there is nothing to say."""
        if not self._paths.plane.exists():
            return None

        async def said() -> ControlPlane:
            return await self.control_plane(Nothing())

        asked = asyncio.run_coroutine_threadsafe(said(), self._loop)
        with contextlib.suppress(TimeoutError):
            return _seen(asked.result(PATIENCE))
        return None

    async def _asked(self, snapshot: Snapshot, own: bool) -> list[MemberState]:
        """Of the lab's own all that are meant to be there, without asking those that have no power."""
        if not self._members:
            return []
        if not own:
            found = await self._members(None)
            newest = max((one.revision for one in found), default=0)
            return [_member(one, newest) for one in found]
        seats = {f"https://{seat.address}:{CLIENTS}": seat for seat in plane.members(snapshot.lab)}
        lit = [endpoint for endpoint, seat in seats.items() if not self._dark(seat.node)]
        said = {one.endpoint: one for one in await self._members(lit)}
        newest = max((one.revision for one in said.values()), default=0)
        return [
            _member(said.get(endpoint, Member(endpoint, problem=DARK)), newest, seat)
            for endpoint, seat in seats.items()
        ]

    def _dark(self, node: str) -> str:
        return DARK if node in self._agents.power.off else ""

    def _servers(self, snapshot: Snapshot, own: bool) -> Iterator[Awaitable[ApiServerState]]:
        if own:
            for seat in plane.servers(snapshot.lab):
                yield self._server(seat)
            return
        for node in snapshot.all(Node).values():
            if address := node.metadata.annotations.get(ADDRESS):
                yield _told(ApiServerState(node.name, address))

    async def _server(self, seat: plane.Seat) -> ApiServerState:
        ca, address = self._paths.api_pki / "ca.crt", f"{seat.address}:{API}"
        why = self._dark(seat.node) or await asyncio.to_thread(apiservers.problem, opener(self._paths.lab), address, ca)
        return ApiServerState(seat.node, address, why, f"{APISERVER}-{seat.number}")

    def _components(self, snapshot: Snapshot, leaders: Iterable[LeaderState]) -> list[ComponentState]:
        """What the kubelet says of those that nobody can ask. Blocking."""
        try:
            held, silent = Kubelet(self._paths.kubelet_socket).addons(ADDON), ""
        except DaemonError as error:
            held, silent = {}, error.message
        running = {tuple(uid.split("/")[1:3]) for uid, state in held.items() if _runs(state)}
        leading = {one.name: one.holder.partition("_")[0] for one in leaders if not one.late}

        def state(node: str, name: str, lease: str = "") -> ComponentState:
            why = self._dark(node) or silent or ("" if (node, name) in running else "its process does not run")
            return ComponentState(name, node, bool(lease) and leading.get(lease) == node, why)

        seats = [(name, seat) for name in COMPONENTS for seat in plane.servers(snapshot.lab)]
        return [state(ROUTER, BALANCER), *(state(seat.node, f"{name}-{seat.number}", name) for name, seat in seats)]

    def _machine(self, snapshot: Snapshot, leaders: Iterable[LeaderState]) -> MachineState:
        node = snapshot.get(Node, self._here)
        address = node.metadata.annotations.get(ADDRESS, "") if node else ""
        leads = any(one.name == MANAGER and one.holder.rpartition("_")[0] == self._here for one in leaders)
        health = self._cluster.informer.health()
        return MachineState(self._here, address, leads, snapshot.revision, 0, health.problem)


def _member(one: Member, newest: int, seat: plane.Seat | None = None) -> MemberState:
    behind = max(0, newest - one.revision) if not one.problem else 0
    name, node = (f"{ETCD}-{seat.number}", seat.node) if seat else ("", "")
    return MemberState(
        one.endpoint, one.leads, one.term, one.index, one.revision, behind, one.problem, name=name, node=node
    )


def _seen(found: ControlPlane) -> components.Plane:
    now = time.time()
    return components.Plane(
        tuple(map(_as_member, found.servers)),
        tuple(map(_as_member, found.etcd)),
        tuple(map(_as_member, found.components)),
        tuple(
            components.Held(one.name, one.holder, now - (moment(one.renewed) or now), one.seconds)
            for one in found.leaders
        ),
    )


def _as_member(one: ApiServerState | MemberState | ComponentState) -> components.Member:
    """A member of the etcd that answers is none that is lost, whether it knows a leader or not."""
    problem = "" if one.problem == LEADERLESS else one.problem
    return components.Member(one.name, one.node, problem, dark=problem == DARK)


async def _none() -> list[ComponentState]:
    return []


async def _told(state: ApiServerState) -> ApiServerState:
    return state


def _runs(state: PodState) -> bool:
    return any(status.state.running for status in state.containers)


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
                late=(moment(spec.renewTime) or 0) + (spec.leaseDurationSeconds or 0) < time.time(),
                seconds=spec.leaseDurationSeconds or 0,
                transitions=spec.leaseTransitions or 0,
            )


def _lag(task: AgentTask, snapshot: Snapshot) -> AgentLag:
    reached = task.state.snapshot.revision if task.state.snapshot else -1
    return AgentLag(task.name, reached, 0 if task.has(snapshot) else snapshot.revision - reached)
