"""The daemon: one process per lab and machine with the store, the controllers, the node agents and the REST socket."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from k8snetlab.agent.report import Report
from k8snetlab.api.lab import StoreSpec
from k8snetlab.api.meta import Object
from k8snetlab.api.workload import PodState
from k8snetlab.apiserver.authentication import Authentication
from k8snetlab.apiserver.connections import Connections
from k8snetlab.apiserver.freshness import Freshness
from k8snetlab.apiserver.listener import Listener
from k8snetlab.apiserver.objects import ObjectRoutes
from k8snetlab.apiserver.server import PeerProtocol, listen
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.controllers import components
from k8snetlab.dataplane.names import ROUTER
from k8snetlab.kernel import cgroups, modules, netns
from k8snetlab.lab.app import Api
from k8snetlab.lab.everywhere import Everywhere
from k8snetlab.lab.merging import Merging
from k8snetlab.lab.operations.attaching import Attaching
from k8snetlab.lab.operations.changing import Changing
from k8snetlab.lab.operations.control_plane import ControlPlaneState
from k8snetlab.lab.operations.drilling import Drilling
from k8snetlab.lab.operations.explaining import Explaining
from k8snetlab.lab.operations.faulting import Faulting
from k8snetlab.lab.operations.following import Following
from k8snetlab.lab.operations.guests import Guests
from k8snetlab.lab.operations.ingresses import IngressesShown
from k8snetlab.lab.operations.linking import Linking
from k8snetlab.lab.operations.machine import ThisMachine
from k8snetlab.lab.operations.pausing import Pausing
from k8snetlab.lab.operations.places import Places
from k8snetlab.lab.operations.powering import Powering
from k8snetlab.lab.operations.processes import Processes
from k8snetlab.lab.operations.reaching import Reaching
from k8snetlab.lab.operations.scheduling import Scheduling
from k8snetlab.lab.operations.snapshotting import Snapshotting
from k8snetlab.lab.operations.standing import Standing
from k8snetlab.lab.operations.tables import Tables
from k8snetlab.lab.plane import found
from k8snetlab.lab.pods_api import PodsApi
from k8snetlab.lab.store import claim
from k8snetlab.lab.table import Table
from k8snetlab.machines.ending import leave_when_ended
from k8snetlab.machines.leases import Leases
from k8snetlab.machines.membership import Membership
from k8snetlab.peers.requests import Remote
from k8snetlab.running import standins
from k8snetlab.running.accounts import Accounts
from k8snetlab.running.agent_task import AgentTask
from k8snetlab.running.agents import Agents
from k8snetlab.running.announcements import Announcements
from k8snetlab.running.doors import Doors
from k8snetlab.running.kubelet_link import KubeletLink
from k8snetlab.running.lifecycle import PodLifecycle
from k8snetlab.running.overflows import Overflows
from k8snetlab.running.switching import Switching
from k8snetlab.running.works import Works
from k8snetlab.state.ledger import Ledger
from k8snetlab.state.machine import read as read_machine
from k8snetlab.state.paths import LabPaths
from k8snetlab.state.store_spec import read_spec
from k8snetlab.store.informer import Informer
from k8snetlab.store.keys import Keys
from k8snetlab.store.open import open_store
from k8snetlab.store.protocol import Store
from k8snetlab.supervision import Supervisor

Tasks = dict[str, Callable[[], Awaitable[object]]]
GRACE = 1.0
"""Seconds that requests have to their end when the daemon ends."""


class Daemon:
    """Everything of one lab that lives in this process, and the order in which it starts and stops."""

    def __init__(
        self,
        lab: str,
        paths: LabPaths,
        groups: Path | None,
        started: subprocess.Popen[bytes] | None,
        handed: list[Object],
    ) -> None:
        """`groups`: where control groups are made; `started` is the kubelet, where it has been started already;
        `handed` are the objects of the `up` that began it."""
        self._handed = handed
        self._lab, self._paths, self._groups, self._started = lab, paths, groups, started
        self._ledger = Ledger(paths.ledger)
        self._stop, self._overflows = asyncio.Event(), Overflows()
        self._supervisor = Supervisor()

    async def run(self) -> None:
        netns.make_directory(self._ledger.own_netns_directory)
        modules.load_bridge_filter(self._ledger.own_bridge_filter)
        supervisor, loop = self._supervisor, asyncio.get_running_loop()
        loop.set_exception_handler(supervisor.unseen)
        self._end_on_signals(loop)
        kubelet = KubeletLink(self._paths, self._ledger, self._states_changed, supervisor, self._started)
        kubelet.start()
        machine, shared = read_machine(self._paths), self._paths.machine.exists() or self._paths.plane.exists()
        store, informer = await self._opened(read_spec(self._paths))
        own = self._paths.plane.exists()  # scheduler and controllers are processes of the control plane's nodes
        cluster = Cluster(store, informer, shared=shared, component=components.DAEMON if own else components.ALL)
        keys = await self._keys(store if shared else None)
        agents = Agents(cluster, self._ledger, self._paths, self._synced, supervisor, machine=machine, keys=keys)
        remote = Remote(store, machine.node, supervisor) if machine else None
        group = self._cgroup()
        accounts = Accounts(cluster, self._paths, keys)
        self._doors = doors = Doors(cluster, self._paths, kubelet)
        works = Works(cluster, self._paths, accounts, doors, group)
        self._lifecycle = PodLifecycle(cluster, agents, kubelet, self._paths, supervisor, works=works, remote=remote)
        leases = Leases(store, cluster, machine, self._paths, self._ledger)
        table = Table(
            reaching := Reaching(cluster, Listener(keys), self._paths),
            changing := Changing(cluster, agents, leases, remote, doors, handed=self._handed),
            Snapshotting(cluster, agents, self._paths, changing.writing),
            Pausing(cluster, agents),
            Powering(cluster, agents, switching := Switching(cluster, agents, self._lifecycle, self._paths)),
            explaining := Explaining(
                cluster,
                agents,
                self._paths,
                remote=remote,
                supervisor=supervisor,
                troubles=lambda: leases.problems | kubelet.problems,
                overflows=self._overflows,
            ),
            Places(cluster, agents, self._paths, group, states=lambda: kubelet.states),
            Guests(cluster, agents, self._paths),
            Attaching(cluster, self._ledger),
            Linking(cluster, agents),
            faulting := Faulting(cluster, agents, leases, self._paths, keys),
            Drilling(self._paths, faulting, explaining.looked),
            Standing(
                cluster,
                agents,
                self._paths,
                kubelet=kubelet,
                leases=leases,
                supervisor=supervisor,
                others=lambda now: [*filter(None, [self._inside.problem]), *doors.lacking(now)],
            ),
            Processes(cluster, agents, self._paths, kubelet),
            standing := ControlPlaneState(
                cluster, agents, self._paths, getattr(store, "members", None), machine.node if machine else ""
            ),
            Scheduling(cluster),
            IngressesShown(cluster, doors),
            Following(cluster, agents),
            Tables(cluster, agents, leases, self._paths, remote),
            ThisMachine(Membership(cluster, agents, leases, machine), self._stop.set),
            *((Merging(cluster, remote.node),) if remote else ()),
        )
        explaining.refused, faulting.behind, explaining.plane, explaining.ahead = (
            lambda: doors.ingresses.refused,
            doors.behind,
            standing.seen,
            lambda: keys.ahead,
        )
        everywhere = Everywhere(cluster, table, remote, lambda: leases.leading_node) if remote else None
        api = reaching.through(
            Api(
                ObjectRoutes(cluster, Authentication(cluster, keys)),
                table,
                everywhere,
                Freshness(store, informer) if shared else None,
            )
        )
        self._inside = PodsApi(cluster, agents, keys, api)
        connections = Connections(api, PeerProtocol)
        tasks: Tasks = {
            **leases.work,
            **switching.work,
            "controllers": partial(leases.while_leading, cluster.run_controllers),
            "agents": agents.run,
            "line to the kubelet": kubelet.run,
            "REST socket": partial(self._serve, connections),
            "API listener": reaching.follow,
            "API in pods": self._inside.follow,
            "CA of the API": self._inside.publish,
            "tokens of pods": accounts.keep,
            "configuration of pods": self._lifecycle.follow_configuration,
            "volumes of pods": works.volumes.follow,
            "static pods": self._lifecycle.statics.follow,
            "start of the name server": partial(standins.begin, cluster, kubelet),
            "neighbour tables": self._overflows.watch,
            "announcements": Announcements(cluster, self._paths.addons, lambda: leases.leader).follow,
            "ingress-nginx": doors.ingresses.turns.run,
            "nginx of Gateways": doors.gateways.turns.run,
        }
        if remote and machine:
            tasks["end of the lab"] = partial(leave_when_ended, self._lab, cluster, machine)
            tasks["requests of other machines"] = partial(remote.run, api)
        self._begin(tasks)
        await self._stop.wait()
        await connections.close(GRACE)
        await supervisor.close()
        await agents.close()
        await cluster.close()
        await informer.close()
        await store.close()
        self._paths.socket.unlink(missing_ok=True)

    async def _opened(self, spec: StoreSpec) -> tuple[Store, Informer]:
        """The lab's store, claimed for it; where that is in nodes of its own, once these are there and it answers."""
        if plane := found(self._paths, self._ledger):
            self._cgroup()
            await plane.begin()
        store = plane.opened(spec) if plane else open_store(spec, self._paths.store)
        informer = Informer(store, begin=self._supervisor.keep)
        if plane:
            await plane.answers(store)
            await informer.start()
        else:
            await claim(self._lab, spec, await informer.start(), store)
        return store, informer

    async def _keys(self, shared: Store | None) -> Keys:
        keys = Keys(self._paths.api_pki)
        if shared:
            await keys.share(shared)
        return keys

    def _begin(self, tasks: Tasks) -> None:
        for name, work in tasks.items():
            self._supervisor.keep(name, work)

    def _end_on_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        for sig in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sig, self._stop.set)

    async def _serve(self, connections: Connections) -> None:
        await connections.open(listen(self._paths))
        await asyncio.Event().wait()

    def _cgroup(self) -> Path | None:
        """The control group for what runs in the lab, in the ledger before it is made; None where none can be made."""
        if not self._ledger.cgroup and self._groups:
            self._ledger.own_cgroup(str(self._groups / cgroups.PARENT / self._paths.group))
        return Path(self._ledger.cgroup) if self._ledger.cgroup else None

    def _synced(self, task: AgentTask, report: Report) -> None:
        self._inside.look()
        if task.state.error:
            return
        if task.name == ROUTER:
            self._lifecycle.router_synced(report.recreated)
        else:
            self._lifecycle.node_synced(task.name, report.recreated)

    def _states_changed(self, states: tuple[PodState, ...]) -> None:
        self._lifecycle.states_changed(states)
        self._doors.look()
