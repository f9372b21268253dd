"""What the daemon asks the kubelet to run, and what the kubelet says of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec
from msgspec.structs import replace

from k8snetlab.api import standin
from k8snetlab.api.core import Container, ContainerStatus, Pod
from k8snetlab.api.probes import LifecycleHandler, Probe
from k8snetlab.api.quantity import quantity

LOG_SIZE, LOG_FILES = 10 << 20, 5
"""kubelet's containerLogMaxSize (bytes) and containerLogMaxFiles: what is kept of a container's output."""

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


def expanded(text: str, values: Mapping[str, str]) -> str:
    """The text with `$(NAME)` as that variable's value: one that is not known stays as it is, `$$` is a `$`.

    Source: Kubernetes third_party/forked/golang/expansion.
    """
    return _REFERENCE.sub(lambda m: "$" if m[1] is None else values.get(m[1], m[0]), text)


class Given(msgspec.Struct, frozen=True):
    """Of a container's variables those that come from elsewhere: whole objects' keys, and the values of its own."""

    whole: Mapping[str, str] = {}
    values: Mapping[str, str] = {}


NOTHING = Given()


def environment(container: Container, services: Mapping[str, str] = {}, given: Given = NOTHING) -> dict[str, str]:
    """Its variables; each may refer to those before it, and to those of `services`, which it gets where it has no such
    variable itself. One that comes from elsewhere and is not `given` is left out."""
    values: dict[str, str] = {**given.whole}
    for variable in container.env:
        if variable.valueFrom is None:
            values[variable.name] = expanded(variable.value, {**services, **values})
        elif variable.name in given.values:
            values[variable.name] = given.values[variable.name]
    return {**services, **values}


PAUSE = "pause"
"""What the process that holds a pod's namespaces is called."""
ADDON = "addon/"
"""What the uid of an add-on begins with; no Kubernetes uid has a slash."""
LOGS = "K8SNETLAB_LOGS"
"""In the environment of every command: the directory of its pod's logs, by which a lab knows its own."""


NAMESERVER = "k8snetlab.nameserver"
"""The module that is run as a name server."""


class NameService(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a name server does for one pod: names of the cluster of `lab`, answered in the namespace `netns` ("": where
    the process is). `local` are the pod's addresses; `log` is the file for what it has to say, "" for standard output.
    It goes by the Corefile of the ConfigMap `config` in kube-system, where `upstream` is the Service that is asked in
    the place of a pillar. It serves metrics at the port `metrics`, and is there at `health`.
    """

    lab: str
    local: tuple[str, ...] = ()
    netns: str = ""
    log: str = ""
    config: str = "coredns"
    upstream: str = ""
    metrics: int = 9153
    health: tuple[str, int] = ("", 8080)


class NamesRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line to a machine's name server: from now on it serves the pod `key` so, or, without `names`, no more."""

    id: int
    key: str
    names: NameService | None = None


class NamesResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to request `id`; `error` says why the pod is not served. With id 0: why the pod `key` is served no
    more."""

    id: int
    error: str = ""
    key: str = ""


class MountWork(msgspec.Struct, frozen=True):
    """A directory or file of the machine that a container sees at `target`; of a directory only its `part`, "" for all.
    Nobody may write to a `sealed` one. `name` is the volume's."""

    name: str
    source: str
    target: str
    part: str = ""
    sealed: bool = False


class ContainerWork(msgspec.Struct, frozen=True):
    """A container: with a `command` a real process, else the built-in responder on `ports` (number, protocol).

    With `names` the machine's one name server does what the command would do alone, for a kubelet that knows none.
    With `ready`, an address, port and path that are asked by HTTP, it is ready when that says so; else as its probes
    say, which know their ports by number as far as the container names them. `begins` is done when it has begun
    (postStart), `ends` before it is told to end (preStop). `init`: the next one waits until it has ended well; without
    a command it has nothing to do. With `stdin` the command's standard input stays open, though nobody writes to it.
    Its command may take `memory` octets and `cpu` thousandths of a processor; 0 for what it wants. Its root is the
    directory `root`, "" for the machine's; what it writes there is gone with it.
    """

    name: str
    command: tuple[str, ...] = ()
    ports: tuple[tuple[int, str], ...] = ()
    env: dict[str, str] = {}
    workingDir: str = ""
    image: str = ""
    sidecar: bool = False
    init: bool = False
    ready: tuple[str, int, str] | None = None
    names: NameService | None = None
    startup: Probe | None = None
    liveness: Probe | None = None
    readiness: Probe | None = None
    begins: LifecycleHandler | None = None
    ends: LifecycleHandler | None = None
    stdin: bool = False
    mounts: tuple[MountWork, ...] = ()
    memory: int = 0
    cpu: int = 0
    root: str = ""

    @property
    def has_process(self) -> bool:
        return bool(self.command) or self.names is not None


class PodWork(msgspec.Struct, frozen=True):
    """A pod to run in an existing namespace. `grace` is in seconds; logs go to `log_directory`/<container>/<n>.log,
    where n counts its restarts; its commands see the directory `flannel`, where one is given, as /run/flannel, and
    `account` as that of their ServiceAccount, and the files of `etc` in /etc.

    `containers` begins with the init containers, sidecars among them. `cgroup` is the control group for its processes,
    "" where there are none.
    `statuses` are its containers' as they were last known, of one that has been run before; `anew`: in a sandbox that
    is another one, so that its init containers are run again.

    With a `scratch` directory of its own its commands are containers, with processes, files and mounts of their own,
    and a pause process holds what they share: their network, hostname and IPC, and with `shared` their processes.
    Else they are only in its network. `pause`: it has one although it has no command.
    """

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
    restart: Literal["Always", "OnFailure", "Never"] = "Always"
    cgroup: str = ""
    statuses: tuple[ContainerStatus, ...] = ()
    log_size: int = LOG_SIZE
    log_files: int = LOG_FILES
    account: str = ""
    etc: str = ""
    scratch: str = ""
    shared: bool = False
    pause: bool = False
    anew: bool = False

    @property
    def has_pause(self) -> bool:
        return bool(self.scratch) and (self.pause or any(one.command for one in self.containers))

    @staticmethod
    def of(
        pod: Pod,
        netns: str,
        log_directory: str,
        flannel: str = "",
        cgroup: str = "",
        *,
        account: str = "",
        variables: Mapping[str, dict[str, str]] = {},
    ) -> PodWork:
        """`variables` are those of each container, where they are not only what is written."""
        spec = pod.spec
        return PodWork(
            uid=pod.run_uid,
            namespace=pod.namespace,
            name=pod.name,
            node=spec.nodeName,
            netns=netns,
            hostname=pod.hostname if not spec.hostNetwork else spec.nodeName,
            ips=pod.ips,
            containers=tuple(
                ContainerWork(
                    c.name,
                    command=tuple(expanded(word, env) for word in c.argv),
                    # Two names, or two ports of the node's, may be one port of the container's.
                    ports=tuple(dict.fromkeys((p.containerPort, p.protocol) for p in c.ports)),
                    env=env,
                    workingDir=c.workingDir,
                    image=c.image,
                    sidecar=sidecar,
                    init=initial and not sidecar,
                    startup=_numbered(c.startupProbe, c),
                    liveness=_numbered(c.livenessProbe, c),
                    readiness=_numbered(c.readinessProbe, c),
                    begins=_numbered(c.lifecycle.postStart, c) if c.lifecycle else None,
                    ends=_numbered(c.lifecycle.preStop, c) if c.lifecycle else None,
                    stdin=c.stdin,
                    memory=_limit(c, "memory", 1),
                    cpu=_limit(c, "cpu", 1000),
                )
                for c in (*spec.initContainers, *spec.containers)
                for initial in (c in spec.initContainers,)
                for sidecar in (initial and c.restartPolicy == "Always",)
                for env in (variables[c.name] if c.name in variables else environment(c),)
            ),
            log_directory=log_directory,
            grace=float(spec.terminationGracePeriodSeconds),
            flannel=flannel if spec.hostNetwork else "",
            restart=spec.restartPolicy,
            cgroup=cgroup,
            statuses=(*pod.status.initContainerStatuses, *pod.status.containerStatuses),
            account=account,
            shared=bool(spec.shareProcessNamespace),
        )


def _limit(container: Container, name: str, times: int) -> int:
    """What a container that runs a command is limited to, 0 where nothing is said."""
    limits = container.resources.get("limits")
    said = limits.get(name) if isinstance(limits, Mapping) and container.argv else None
    return max(1, math.ceil(quantity(str(said)) * times)) if said is not None else 0


A = TypeVar("A", Probe, LifecycleHandler)


def _numbered(action: A | None, container: Container) -> A | None:
    """With the number of a port that it names, where the container has that; None for what the stand-in cannot do."""
    if action is None or not standin.can(action, container):
        return None
    numbers = {port.name: port.containerPort for port in container.ports if port.name}
    for field in ("httpGet", "tcpSocket"):
        asked: Any = getattr(action, field, None)
        if asked is not None and asked.port in numbers:
            return replace(action, **{field: replace(asked, port=numbers[asked.port])})
    return action


SANDBOX_CHANGED = "SandboxChanged"
CHANGED = "Pod sandbox changed, it will be killed and re-created."
"""The Event of a pod whose network namespace is made again, in kubelet's words."""


class Happening(msgspec.Struct, frozen=True):
    """What an Event is to tell of a container, in kubelet's words; of the pod itself where `container` is ""."""

    container: str
    reason: str
    message: str
    warning: bool = False


class PodState(msgspec.Struct, frozen=True):
    """The statuses of a pod's containers, init containers first, and what happened since the last time; no containers:
    the kubelet has lost it. `processes` are the first ones of its containers that run commands, by name, and by "" its
    pause process. `adrift`: that has ended, and with it its sandbox; it is to be run anew."""

    uid: str
    containers: tuple[ContainerStatus, ...]
    happened: tuple[Happening, ...] = ()
    processes: Mapping[str, int] = {}
    adrift: bool = False

    @property
    def ready(self) -> bool:
        return all(c.ready for c in self.containers)


class HealthWork(msgspec.Struct, frozen=True):
    """The healthCheckNodePorts of a node: what is answered on each port (status and body), at these addresses.

    Of the host outside, which has none of them: at which addresses of its own, `names`, it answers names.
    """

    netns: str
    ports: dict[int, tuple[int, str]]
    addresses: tuple[str, ...] = ("0.0.0.0",)
    names: tuple[str, ...] = ()


class KubeletRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line from the daemon: run these pods, stop the ones with these uids, list what there is, or, from now on,
    answer a node's healthCheckNodePorts, or the names that the host outside knows, like this.

    Add-ons are pods too, without an object: `addons` lists those whose uids begin with one of `uids` (all, where there
    are none), `list` leaves them out, and who asks `list` is told from then on what changes by itself. `signal` sends
    the signal of that number to the commands of these uids. `lab`: pods that answer that lab's names are about to come.
    """

    id: int
    op: Literal["run", "stop", "list", "health", "addons", "signal"]
    pods: tuple[PodWork, ...] = ()
    uids: tuple[str, ...] = ()
    keep: bool = False
    """Whether what stopped pods have written stays: they are to be run again."""
    grace: float | None = None
    """Seconds that stopped pods have, None for their own; those that are stopped already end within it, too.
    Less than 0: they are killed, and asked nothing before."""
    most: float | None = None
    """Seconds that they have at most, whatever their own are."""
    health: HealthWork | None = None
    signal: int = 0
    container: str = ""
    """Whose process gets the signal: "" for all of the pod's, "pause" for that which holds its namespaces."""
    lab: str = ""


class KubeletResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line to the daemon: the answer to request `id`, or, with id 0, a change that happened by itself."""

    id: int = 0
    states: tuple[PodState, ...] = ()
    error: str = ""
