"""What the daemon asks the kubelet to run, and what the kubelet says of it."""

from __future__ import annotations

from typing import Literal

import msgspec

from k8snetlab.api.core import Pod


class ContainerWork(msgspec.Struct, frozen=True):
    """A container: with a `command` a real process, else the built-in responder on `ports` (number, protocol)."""

    name: str
    command: tuple[str, ...] = ()
    ports: tuple[tuple[int, str], ...] = ()
    env: dict[str, str] = {}
    workingDir: str = ""


class PodWork(msgspec.Struct, frozen=True):
    """A pod to run in an existing namespace. `grace` is in seconds; logs go to `log_directory`/<container>.log; its
    commands see the directory `flannel`, where one is given, as /run/flannel."""

    uid: str
    namespace: str
    name: str
    node: str
    netns: str
    hostname: str
    ips: tuple[str, ...]
    containers: tuple[ContainerWork, ...]
    log_directory: str
    grace: float = 30.0
    flannel: str = ""

    @staticmethod
    def of(pod: Pod, netns: str, log_directory: str, flannel: str = "") -> PodWork:
        return PodWork(
            uid=pod.metadata.uid,
            namespace=pod.namespace,
            name=pod.name,
            node=pod.spec.nodeName,
            netns=netns,
            hostname=pod.hostname if not pod.spec.hostNetwork else pod.spec.nodeName,
            ips=pod.ips,
            containers=tuple(
                ContainerWork(
                    c.name,
                    command=(*c.command, *c.args) if c.command else (),
                    ports=tuple((p.containerPort, p.protocol) for p in c.ports),
                    env={e.name: e.value for e in c.env},
                    workingDir=c.workingDir,
                )
                for c in pod.spec.containers
            ),
            log_directory=log_directory,
            grace=float(pod.spec.terminationGracePeriodSeconds),
            flannel=flannel if pod.spec.hostNetwork else "",
        )


class ContainerState(msgspec.Struct, frozen=True):
    """`state` is Running, Waiting or Terminated; `message` says why it is not running."""

    name: str
    state: Literal["Running", "Waiting", "Terminated"]
    restarts: int = 0
    message: str = ""


class PodState(msgspec.Struct, frozen=True):
    uid: str
    containers: tuple[ContainerState, ...]

    @property
    def ready(self) -> bool:
        return all(c.state == "Running" for c in self.containers)


class HealthWork(msgspec.Struct, frozen=True):
    """The healthCheckNodePorts of a node: what is answered on each port (status and body), at these addresses."""

    netns: str
    ports: dict[int, tuple[int, str]]
    addresses: tuple[str, ...] = ("0.0.0.0",)


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line from the daemon: run these pods, stop the ones with these uids, list what there is, or answer so on a
    node's healthCheckNodePorts from now on."""

    id: int
    op: Literal["run", "stop", "list", "health"]
    pods: tuple[PodWork, ...] = ()
    uids: tuple[str, ...] = ()
    health: HealthWork | None = None


class Response(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line to the daemon: the answer to request `id`, or, with id 0, a change that happened by itself."""

    id: int = 0
    states: tuple[PodState, ...] = ()
    error: str = ""
