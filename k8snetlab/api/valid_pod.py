"""What can be wrong with pods, and with the Deployments and ReplicaSets that make them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from k8snetlab.api import addressing, valid_dns, valid_volumes
from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.core import Container, ContainerPort, Node, Pod, PodSpec
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.problems import Report, dns_label, dns_subdomain, labels, port_name
from k8snetlab.api.rules import PORTS, invalid
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.valid_affinity import label_selector, placement
from k8snetlab.api.valid_probe import asked
from k8snetlab.api.words import Path, did_you_mean, shorten, show

MAX_INT32 = 2**31 - 1
MAX_NETNS = 255
"""A network namespace is a file below /run/netns, LAB.NAMESPACE.POD."""
_PERCENT = re.compile(r"[0-9]{1,9}%")
_ENV_NAME = "a valid environment variable name must consist only of printable ASCII characters other than '='"


def pod(report: Report, pod: Pod, world: Snapshot) -> None:
    pod_spec(report, pod, ("spec",), pod.spec, world)
    length = len(f"{world.lab.name or 'lab'}.{pod.namespace}.{pod.name}")
    if length > MAX_NETNS:
        message = f"LAB.NAMESPACE.POD names the network namespace; of {length} characters only {MAX_NETNS} are allowed"
        report.error(pod, ("metadata", "name"), message)


def workload(report: Report, obj: Deployment | ReplicaSet, world: Snapshot) -> None:
    path: Path = ("spec", "selector")
    selector, template = obj.spec.selector, obj.spec.template.metadata.labels
    labels(report, obj, ("spec", "template", "metadata", "labels"), template)
    if not selector.matchLabels and not selector.matchExpressions:
        wanted = ", ".join(f"{shorten(k)}: {shorten(v)}" for k, v in template.items()) or "app: NAME"
        message = f"is missing; it names the labels of the template: matchLabels {{{wanted}}}"
        report.error(obj, path, message)
    else:
        label_selector(report, obj, path, selector)
        if not selector.matches(template):
            have = ", ".join(f"{k}={v}" for k, v in template.items()) or "none"
            message = f"does not match the labels of the template ({shorten(have)}); make them the same"
            report.error(obj, path, message)
    pod_spec(report, obj, ("spec", "template", "spec"), obj.spec.template.spec, world)
    if isinstance(obj, Deployment):
        _strategy(report, obj)


def _strategy(report: Report, deployment: Deployment) -> None:
    path: Path = ("spec", "strategy", "rollingUpdate")
    strategy = deployment.spec.strategy
    roll = strategy.rollingUpdate
    if roll is None:
        return
    if strategy.type == "Recreate":
        report.error(deployment, path, "may not be set when type is Recreate")
        return
    limits = {"maxSurge": roll.maxSurge, "maxUnavailable": roll.maxUnavailable}
    for field, limit in limits.items():
        percentage(report, deployment, (*path, field), limit)
    if all(limit in (0, "0%") for limit in limits.values()):
        report.error(deployment, (*path, "maxUnavailable"), "may not be 0 when maxSurge is 0: no pod could be replaced")


def percentage(report: Report, obj: Object, path: Path, limit: int | str) -> int:
    """Looks at a number of pods or a share of them, 2 or "25%"; the number, -1 for none."""
    number = limit if isinstance(limit, int) else int(limit[:-1]) if _PERCENT.fullmatch(limit) else -1
    if number < 0:
        report.error(obj, path, f'"{shorten(str(limit))}" is no number of pods; write 1 or "25%"')
    elif path[-1] == "maxUnavailable" and isinstance(limit, str) and number > 100:
        report.error(obj, path, f'"{limit}" is more than all pods; "100%" is the most')
    return number


def pod_spec(report: Report, obj: Object, path: Path, spec: PodSpec, world: Snapshot) -> None:
    if not spec.containers:
        report.error(obj, (*path, "containers"), "a pod needs at least one container")
    names: set[str] = set()
    for where, container in _containers(path, spec):
        if problem := dns_label(container.name):
            report.error(obj, (*where, "name"), problem)
        if container.name in names:
            report.error(obj, (*where, "name"), f'"{shorten(container.name)}" names another container already')
        names.add(container.name)
        _ports(report, obj, where, container, spec.hostNetwork)
        _process(report, obj, where, container)
        asked(report, obj, where, container)
        valid_volumes.mounts(report, obj, where, container)
    valid_volumes.volumes(report, obj, path, spec)
    _twice(report, obj, path, spec)
    _host_ports_once(report, obj, path, spec)
    if spec.hostname and (problem := dns_label(spec.hostname)):
        report.error(obj, (*path, "hostname"), problem)
    if spec.subdomain and (problem := dns_label(spec.subdomain)):
        report.error(obj, (*path, "subdomain"), problem)
    deadline = spec.activeDeadlineSeconds
    if deadline is not None and not 1 <= deadline <= MAX_INT32:
        why = f"must be between 1 and {MAX_INT32}, inclusive"
        report.error(obj, (*path, "activeDeadlineSeconds"), invalid(deadline, why))
    valid_dns.pod(report, obj, path, spec)
    labels(report, obj, (*path, "nodeSelector"), spec.nodeSelector)
    placement(report, obj, path, spec)
    if spec.nodeName and (problem := dns_subdomain(spec.nodeName)):
        report.error(obj, (*path, "nodeName"), problem)
    elif spec.nodeName:
        _node(report, obj, (*path, "nodeName"), spec.nodeName, world)


def _containers(path: Path, spec: PodSpec) -> Iterator[tuple[Path, Container]]:
    for kind, containers in (("containers", spec.containers), ("initContainers", spec.initContainers)):
        for number, container in enumerate(containers):
            yield (*path, kind, number), container


def _process(report: Report, obj: Object, where: Path, container: Container) -> None:
    """What no process can be started with. Source: IsRelaxedEnvVarName; the kernel ends every string at a NUL."""
    for number, variable in enumerate(container.env):
        path: Path = (*where, "env", number, "name")
        if not variable.name:
            report.error(obj, path, "Required value")
        elif not all(" " <= c <= "~" and c != "=" for c in variable.name):
            report.error(obj, path, f'Invalid value: "{shorten(variable.name)}": {_ENV_NAME}')
        _no_nul(report, obj, (*where, "env", number, "value"), variable.value)
    for field, words in (("command", container.command), ("args", container.args)):
        for number, word in enumerate(words):
            _no_nul(report, obj, (*where, field, number), word)
    _no_nul(report, obj, (*where, "workingDir"), container.workingDir)
    if container.workingDir and not container.workingDir.startswith("/"):
        message = f'"{shorten(container.workingDir)}" is no absolute path: a container runtime does not start there'
        report.error(obj, (*where, "workingDir"), message)


def _no_nul(report: Report, obj: Object, path: Path, text: str) -> None:
    if "\0" in text:
        report.error(obj, path, f'"{shorten(text)}" has a NUL in it, with which no process can be started')


def _twice(report: Report, obj: Object, path: Path, spec: PodSpec) -> None:
    """What kube-apiserver warns of: ports and names that a pod has twice. Source: pkg/api/pod/warnings.go."""
    named: dict[str, str] = {}
    numbered: dict[tuple[int, str], list[tuple[str, ContainerPort]]] = {}
    for where, container in _containers(path, spec):
        for number, port in enumerate(container.ports):
            at = (*where, "ports", number)
            if port.name:
                first = named.setdefault(port.name, show(at))
                if first != show(at) and not first.startswith(show(where)):
                    message = (
                        f'duplicate port name "{shorten(port.name)}" with {first}, services and probes that select'
                    )
                    report.notice(obj, at, f"{message} ports by name will use {first}")
            if port.hostIP and not port.hostPort:
                report.notice(obj, at, "hostIP set without hostPort")
            others = numbered.setdefault((port.containerPort, port.protocol), [])
            for other, earlier in others:
                if port.hostPort == earlier.hostPort and port.hostIP == earlier.hostIP:
                    report.notice(obj, at, f"duplicate port definition with {other}")
                elif not port.hostPort or not earlier.hostPort:
                    report.notice(obj, at, f"overlapping port definition with {other}")
                elif port.hostPort == earlier.hostPort and bool(port.hostIP) != bool(earlier.hostIP):
                    report.notice(obj, at, f"dangerously ambiguous port definition with {other}")
            others.append((show(at), port))


def node_names(world: Snapshot) -> set[str]:
    """Nodes that exist, and those that the Lab will have."""
    names = {node.name for node in world.all(Node).values()}
    for lab in world.all(Lab).values():
        if isinstance(lab.spec.nodes, tuple):
            names |= {node.name for node in lab.spec.nodes}
    return names


def _node(report: Report, obj: Object, path: Path, name: str, world: Snapshot) -> None:
    names = node_names(world)
    if names and not world.lab.spec.machines and name not in names:
        hint = did_you_mean(name, names) or f"; there are {shorten(', '.join(sorted(names)))}"
        report.error(obj, path, f'there is no node "{shorten(name)}"{hint}')


def _ports(report: Report, obj: Object, where: Path, container: Container, host_network: bool) -> None:
    names: set[str] = set()
    for number, port in enumerate(container.ports):
        path: Path = (*where, "ports", number)
        if port.name:
            if problem := port_name(port.name):
                report.error(obj, (*path, "name"), problem)
            if port.name in names:
                report.error(obj, (*path, "name"), f'Duplicate value: "{shorten(port.name)}"')
            names.add(port.name)
        if not 0 <= port.hostPort <= 65535:
            report.error(obj, (*path, "hostPort"), invalid(port.hostPort, PORTS))
        elif host_network and port.hostPort != port.containerPort:
            message = f"Invalid value: {port.hostPort}: must match `containerPort` when `hostNetwork` is true"
            report.error(obj, (*path, "hostPort"), message)
        if port.hostIP:
            try:
                addressing.api_address(port.hostIP)
            except ValueError as error:
                report.error(obj, (*path, "hostIP"), str(error))


def _host_ports_once(report: Report, obj: Object, path: Path, spec: PodSpec) -> None:
    taken: set[tuple[str, int, str]] = set()
    for host_port, at in _host_ports(path, spec):
        if host_port in taken:
            report.error(obj, (*at, "hostPort"), f"{host_port[1]}/{host_port[2]} appears twice in this pod")
        taken.add(host_port)


def _host_ports(path: Path, spec: PodSpec) -> list[tuple[tuple[str, int, str], Path]]:
    """((host IP, host port, protocol), where) of every host port."""
    return [
        ((port.hostIP, port.hostPort, port.protocol), (*where, "ports", number))
        for where, container in _containers(path, spec)
        if container in spec.serving_containers
        for number, port in enumerate(container.ports)
        if port.hostPort
    ]
