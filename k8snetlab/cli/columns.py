"""The columns of each kind's table: kubectl's, in its order and words; columns that only a lab has come last.

Source: Kubernetes pkg/printers/internalversion/printers.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.core import (
    Container,
    Endpoints,
    Namespace,
    Node,
    Pod,
    PodSpec,
    Service,
)
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.events import Event
from k8snetlab.api.kubeproxy import KubeProxyConfiguration
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import LabelSelector, LabelSelectorRequirement, Object
from k8snetlab.api.pod_state import last_restart, restart_count, shown_ready, shown_status
from k8snetlab.cli.ages import age

NONE, UNSET, UNKNOWN, PENDING = "<none>", "<unset>", "<unknown>", "<pending>"
SHOWN = 3
"""How many endpoints or ports a cell shows; the rest is only counted."""
LOAD_BALANCER_WIDTH = 16
ROLE = "node-role.kubernetes.io/"


class Column(NamedTuple):
    """One column: its title, the cell of an object, and whether it shows with `-o wide` only."""

    title: str
    cell: Callable[[Any], str]
    wide: bool = False


def columns_of(type_: type[Object], wide: bool = False) -> list[Column]:
    columns = [column for column in COLUMNS[type_] if wide or not column.wide]
    return [WIDE.get((type_, column.title), column) for column in columns] if wide else columns


def _name(obj: Object) -> str:
    return obj.name


def _age(obj: Object) -> str:
    return age(obj.metadata.creationTimestamp)


def _labels(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def _selector(selector: LabelSelector) -> str:
    terms = [(key, f"{key}={value}") for key, value in selector.matchLabels.items()]
    terms += [(one.key, _requirement(one)) for one in selector.matchExpressions]
    return ",".join(term for _, term in sorted(terms)) or NONE


def _requirement(one: LabelSelectorRequirement) -> str:
    match one.operator:
        case "Exists":
            return one.key
        case "DoesNotExist":
            return f"!{one.key}"
    return f"{one.key} {one.operator.lower()} ({','.join(sorted(one.values))})"


def _some(values: Iterable[object]) -> str:
    return ",".join(str(value) for value in values if value != "") or NONE


def _first(values: Sequence[str], nothing: str) -> str:
    """As kubectl cuts a list: `a,b,c + 2 more...`."""
    shown = ",".join(values[:SHOWN])
    if len(values) > SHOWN:
        return f"{shown} + {len(values) - SHOWN} more..."
    return shown or nothing


# --- pods and what makes them ---


def _restarts(pod: Pod) -> str:
    count, last = restart_count(pod), last_restart(pod)
    return f"{count} ({age(last)} ago)" if count and last else str(count)


def _containers(spec: PodSpec) -> str:
    return ",".join(container.name for container in spec.containers)


def _images(spec: PodSpec) -> str:
    return ",".join(container.image for container in spec.containers)


def _ports(containers: Iterable[Container]) -> str:
    return _some(f"{port.containerPort}/{port.protocol}" for container in containers for port in container.ports)


# --- namespaces, nodes ---


def _node_status(node: Node) -> str:
    status = "Unknown"
    for condition in node.status.conditions:
        if condition.type == "Ready":
            status = "Ready" if condition.status == "True" else "NotReady"
    return status + (",SchedulingDisabled" if node.spec.unschedulable else "")


def _roles(node: Node) -> str:
    labels = node.metadata.labels
    roles = {key.removeprefix(ROLE) for key in labels if key.startswith(ROLE)} | {labels.get("kubernetes.io/role", "")}
    return ",".join(sorted(roles - {""})) or NONE


def _external(node: Node) -> str:
    return next((a.address for a in node.status.addresses if a.type == "ExternalIP"), NONE)


# --- Services and their endpoints ---


def _service_ports(service: Service) -> str:
    return _some(
        f"{p.port}:{p.nodePort}/{p.protocol}" if p.nodePort else f"{p.port}/{p.protocol}" for p in service.spec.ports
    )


def _cluster_ip(service: Service) -> str:
    return _some(service.clusterIPs or (service.spec.clusterIP,))


def _external_ip(service: Service, wide: bool = False) -> str:
    spec = service.spec
    if spec.type == "ExternalName":
        return spec.externalName
    if spec.type != "LoadBalancer":
        return _some(spec.externalIPs)
    given = ",".join(sorted({i.ip or i.hostname for i in service.status.loadBalancer.ingress} - {""}))
    if not wide and len(given) > LOAD_BALANCER_WIDTH:
        given = given[: LOAD_BALANCER_WIDTH - 3] + "..."
    return ",".join((*((given,) if given else ()), *spec.externalIPs)) or PENDING


def _endpoints(endpoints: Endpoints) -> str:
    if not endpoints.subsets:
        return NONE
    found: list[str] = []
    for subset in endpoints.subsets:
        if not subset.ports:
            found += [address.ip for address in subset.addresses]
        for port in subset.ports:
            found += [_host_port(address.ip, port.port) for address in subset.addresses]
    return _first(found, "")


def _host_port(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _slice_ports(slice_: EndpointSlice) -> str:
    return _first([str(port.port) if port.port is not None else port.name for port in slice_.ports], UNSET)


def _slice_endpoints(slice_: EndpointSlice) -> str:
    return _first([address for endpoint in slice_.endpoints for address in endpoint.addresses], UNSET)


# --- Events ---


def _event_object(event: Event) -> str:
    about = event.involvedObject
    return f"{about.kind.lower()}/{about.name}" if about.name else about.kind.lower()


def _event_source(event: Event) -> str:
    component, instance = event.origin.component or event.reportingComponent, event.origin.host
    return ", ".join(word for word in (component, instance or event.reportingInstance) if word)


def _lab_nodes(lab: Lab) -> str:
    nodes = lab.spec.nodes
    return str(nodes) if isinstance(nodes, int) else _some(n.name for n in nodes)


NAME, AGE = Column("NAME", _name), Column("AGE", _age)

COLUMNS: dict[type[Object], tuple[Column, ...]] = {
    Namespace: (
        NAME,
        Column("STATUS", lambda n: "Terminating" if n.metadata.deletionTimestamp else n.status.phase),
        AGE,
    ),
    Node: (
        NAME,
        Column("STATUS", _node_status),
        Column("ROLES", _roles),
        AGE,
        Column("VERSION", lambda n: n.status.nodeInfo.kubeletVersion),
        Column("INTERNAL-IP", lambda n: _some(n.addresses)),
        Column("EXTERNAL-IP", _external, wide=True),
        Column("OS-IMAGE", lambda n: n.status.nodeInfo.osImage or UNKNOWN, wide=True),
        Column("KERNEL-VERSION", lambda n: n.status.nodeInfo.kernelVersion or UNKNOWN, wide=True),
        Column("CONTAINER-RUNTIME", lambda n: n.status.nodeInfo.containerRuntimeVersion or UNKNOWN, wide=True),
        Column("POD-CIDR", lambda n: _some(n.podCIDRs)),
        Column("LABELS", lambda n: _labels(n.metadata.labels), wide=True),
    ),
    Pod: (
        NAME,
        Column("READY", shown_ready),
        Column("STATUS", shown_status),
        Column("RESTARTS", _restarts),
        AGE,
        Column("IP", lambda p: _some(p.ips)),
        Column("NODE", lambda p: p.spec.nodeName or NONE),
        Column("NOMINATED NODE", lambda p: NONE, wide=True),
        Column("READINESS GATES", lambda p: NONE, wide=True),
        Column("PORTS", lambda p: _ports(p.spec.serving_containers), wide=True),
        Column("LABELS", lambda p: _labels(p.metadata.labels), wide=True),
    ),
    Service: (
        NAME,
        Column("TYPE", lambda s: s.spec.type),
        Column("CLUSTER-IP", _cluster_ip),
        Column("EXTERNAL-IP", _external_ip),
        Column("PORT(S)", _service_ports),
        AGE,
        Column("SELECTOR", lambda s: _labels(s.spec.selector), wide=True),
    ),
    Endpoints: (NAME, Column("ENDPOINTS", _endpoints), AGE),
    EndpointSlice: (
        NAME,
        Column("ADDRESSTYPE", lambda s: s.addressType),
        Column("PORTS", _slice_ports),
        Column("ENDPOINTS", _slice_endpoints),
        AGE,
    ),
    Deployment: (
        NAME,
        Column("READY", lambda d: f"{d.status.readyReplicas}/{d.spec.replicas}"),
        Column("UP-TO-DATE", lambda d: str(d.status.updatedReplicas)),
        Column("AVAILABLE", lambda d: str(d.status.availableReplicas)),
        AGE,
        Column("CONTAINERS", lambda d: _containers(d.spec.template.spec), wide=True),
        Column("IMAGES", lambda d: _images(d.spec.template.spec), wide=True),
        Column("SELECTOR", lambda d: _selector(d.spec.selector), wide=True),
        Column("PORTS", lambda d: _ports(d.spec.template.spec.serving_containers), wide=True),
    ),
    ReplicaSet: (
        NAME,
        Column("DESIRED", lambda r: str(r.spec.replicas)),
        Column("CURRENT", lambda r: str(r.status.replicas)),
        Column("READY", lambda r: str(r.status.readyReplicas)),
        AGE,
        Column("CONTAINERS", lambda r: _containers(r.spec.template.spec), wide=True),
        Column("IMAGES", lambda r: _images(r.spec.template.spec), wide=True),
        Column("SELECTOR", lambda r: _selector(r.spec.selector), wide=True),
    ),
    Event: (
        Column("LAST SEEN", lambda e: age(e.lastTimestamp or e.firstTimestamp or e.eventTime)),
        Column("TYPE", lambda e: e.type),
        Column("REASON", lambda e: e.reason),
        Column("OBJECT", _event_object),
        Column("SUBOBJECT", lambda e: e.involvedObject.fieldPath, wide=True),
        Column("SOURCE", _event_source, wide=True),
        Column("MESSAGE", lambda e: " ".join(e.message.split())),
        Column("FIRST SEEN", lambda e: age(e.firstTimestamp or e.eventTime), wide=True),
        Column("COUNT", lambda e: str(e.count or 1), wide=True),
        Column("NAME", _name, wide=True),
    ),
    Lab: (
        NAME,
        Column("NODES", _lab_nodes),
        Column("POD-CIDR", lambda lab: lab.spec.podCIDR),
        Column("SERVICE-CIDR", lambda lab: lab.spec.serviceCIDR),
        Column("BACKEND", lambda lab: lab.spec.network.backend),
        AGE,
    ),
    KubeProxyConfiguration: (
        NAME,
        Column("MODE", lambda c: c.mode or "iptables"),
        Column("CLUSTER-CIDR", lambda c: c.clusterCIDR or "<lab>"),
        AGE,
    ),
}

WIDE: dict[tuple[type[Object], str], Column] = {
    (Service, "EXTERNAL-IP"): Column("EXTERNAL-IP", lambda s: _external_ip(s, wide=True)),
}
"""Columns that `-o wide` shows differently."""
