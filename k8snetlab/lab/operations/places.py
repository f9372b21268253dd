"""Pods and nodes by name: where each one is, a command run in it, what its containers wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path

from msgspec.structs import replace

from k8snetlab.api.core import Node, Pod, Service
from k8snetlab.api.machines import MACHINE
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.workload import PodState
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.dataplane.names import is_host
from k8snetlab.dns import etc
from k8snetlab.errors import ConflictError
from k8snetlab.exec import console, forward, piped
from k8snetlab.exec.channels import Size, Terminal
from k8snetlab.kernel.launch import Setting
from k8snetlab.lab.table import answers
from k8snetlab.lab.where import place_of, remote_nodes
from k8snetlab.lab.written import written
from k8snetlab.messages.places import (
    CONNECT,
    EXEC,
    LOGS,
    NAMES,
    RESOLVE,
    Connect,
    Execute,
    LogsQuestion,
    Names,
    Output,
    Received,
    Resolve,
    Resolved,
    Written,
)
from k8snetlab.messages.verb import Nothing
from k8snetlab.running.agents import Agents
from k8snetlab.state.paths import LabPaths


class Places:
    """The places of a lab; commands and logs are those of this machine."""

    def __init__(
        self,
        cluster: Cluster,
        agents: Agents,
        paths: LabPaths,
        group: Path | None = None,
        *,
        states: Callable[[], Mapping[str, PodState]] = dict,
    ) -> None:
        """`states` are the kubelet's, by uid."""
        self._cluster, self._agents, self._paths, self._group, self._states = cluster, agents, paths, group, states

    @answers(NAMES)
    async def names(self, _: Nothing) -> Names:
        snapshot = self._cluster.snapshot
        return Names(
            tuple(node.name for node in snapshot.all(Node).values()),
            tuple(pod.short_name for pod in snapshot.all(Pod).values()),
            tuple(service.short_name for service in snapshot.all(Service).values()),
            tuple(host.name for host in snapshot.lab.spec.hosts),
        )

    @answers(RESOLVE)
    async def resolve(self, asked: Resolve) -> Resolved:
        return self._resolved(asked.name, asked.namespace)

    def _resolved(self, name: str, namespace: str) -> Resolved:
        snapshot = self._cluster.snapshot
        place = place_of(snapshot, name, namespace, self._agents.power.off)
        space, _, short = place.name.rpartition("/")
        pod = snapshot.get(Pod, short, space or "default") if place.kind == "pod" else None
        if pod is not None and pod.ended:
            raise ConflictError(
                f"cannot exec into a container in a completed pod; current phase is {pod.status.phase}",
                f"`k8snetlab logs {pod.name}` shows what it wrote",
            )
        return Resolved(
            kind=place.kind,
            name=short,
            namespace=(space or "default") if pod else "",
            node=place.node,
            machine=self._machine_of(place.node),
            netns=place.netns,
            hostname=_hostname(pod, snapshot) if pod else place.node or short,
            cgroup=self._group_of(place.netns, place.node or short, pod),
            held=str(self._paths.held(pod, place.node or short)),
            flannel=str(self._paths.flannel(place.node)) if place.node and (not pod or pod.spec.hostNetwork) else "",
            account=str(account) if pod and (account := self._paths.account_of(pod)).is_dir() else "",
            etc=str(etc) if pod and (etc := self._paths.etc_of(pod)).is_dir() else "",
            process=self._process_of(pod) if pod else 0,
        )

    def _process_of(self, pod: Pod) -> int:
        """Of the first container that runs a command; 0 where there is none."""
        state = self._states().get(pod.run_uid)
        names = [one.name for one in pod.spec.containers]
        return next((pid for name in names if state and (pid := state.processes.get(name, 0))), 0)

    def _running(self, place: Resolved, container: str) -> int:
        """The process of a container that has a command, 0 of one that has none. Raises ConflictError."""
        pod = self._cluster.snapshot.get(Pod, place.name, place.namespace)
        named = next((one for one in pod.spec.all_containers if one.name == container), None) if pod else None
        if pod is None or named is None or not named.argv:
            return 0
        state = self._states().get(pod.run_uid)
        if state is None or not (pid := state.processes.get(container, 0)):
            raise ConflictError(f'container not found ("{container}")', f"`k8snetlab get pod/{pod.name}` says why")
        return pid

    @answers(EXEC)
    def execute(self, asked: Execute, body: AsyncIterator[bytes]) -> AsyncIterator[Output]:
        """`piped.run`, or at a terminal `console.run`, in a place of this machine."""
        place, argv = self._resolved(asked.name, asked.namespace), asked.command or (console.root_shell(),)
        if asked.container:
            place = replace(place, process=self._running(place, asked.container))
        held = not is_host(place.netns) or bool(place.cgroup)
        setting = Setting(
            place.netns,
            place.hostname,
            cgroup=place.cgroup,
            held=held,
            account=place.account,
            etc=place.etc,
            process=place.process,
        )
        if asked.tty:
            return console.run(setting, argv, Terminal(Size(asked.rows, asked.columns), asked.term), body)
        return piped.run(setting, argv, body)

    @answers(CONNECT)
    def connect(self, asked: Connect, body: AsyncIterator[bytes]) -> AsyncIterator[Received]:
        """`forward.run`, in a pod of this machine."""
        pod = self._cluster.current(Pod, asked.name, asked.namespace)
        if pod.status.phase != "Running":
            raise ConflictError(
                f"unable to forward port because pod is not running. Current status={pod.status.phase}",
                "`k8snetlab diagnose` says what keeps it",
            )
        name, off = f"pod/{asked.namespace}/{asked.name}", self._agents.power.off
        place = place_of(self._cluster.snapshot, name, asked.namespace, off)
        return forward.run(place.netns, asked.port, body)

    @answers(LOGS)
    async def logs(self, asked: LogsQuestion) -> AsyncIterator[Written]:
        """What a container wrote in its last run, or in the one before."""
        async with aclosing(written(self._cluster, self._paths, asked)) as pieces:
            async for piece in pieces:
                yield Written(piece)

    def _group_of(self, netns: str, node: str, pod: Pod | None) -> str:
        """Where what `exec` starts goes, so that it ends with the pod, or with the lab; "" where it ends by itself."""
        if self._group is None or (pod is None and is_host(netns)):
            return ""
        return str(self._group / (f"pod{pod.run_uid}/exec" if pod else f"node/{node}"))

    def _machine_of(self, name: str) -> str:
        """How to come to the other machine that a node is: its hostname and address; "" for a node of this one."""
        snapshot = self._cluster.snapshot
        node = snapshot.get(Node, name)
        if node is None or name not in remote_nodes(snapshot, self._agents):
            return ""
        return f"{node.metadata.annotations.get(MACHINE, name)} ({', '.join(node.addresses)})"


def _hostname(pod: Pod, snapshot: Snapshot) -> str:
    try:
        return etc.hostname(pod, snapshot.lab)
    except ValueError:  # such a pod was never run
        return pod.hostname
