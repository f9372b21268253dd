"""Objects as the tables kubectl prints: the same columns, the same words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.core import Endpoints, Namespace, Node, Pod, PodTemplateSpec, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.events import Event
from k8snetlab.api.kubeproxy import KubeProxyConfiguration
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import LabelSelector, Object
from k8snetlab.api.pod_state import last_restart, restart_count, shown_ready, shown_status
from k8snetlab.api.scheme import Resource
from k8snetlab.cli import screen


class Column(NamedTuple):
    """One column: its title, the cell of an object, and whether it shows with `-o wide` only."""

    title: str
    cell: Callable[[Any], str]
    wide: bool = False


def objects(
    resource: Resource,
    items: Iterable[Mapping[str, Any]],
    *,
    wide: bool = False,
    with_namespace: bool = False,
    with_kind: bool = False,
) -> str:
    """The table of objects of one kind, as JSON-like builtins."""
    columns = [c for c in COLUMNS[resource.type] if wide or not c.wide]
    typed = [msgspec.convert(item, resource.type) for item in items]
    if resource.type is Event:
        typed.sort(key=_seen)
    rows = [[column.cell(obj) for column in columns] for obj in typed]
    titles = [column.title for column in columns]
    if with_kind and titles[0] == NAME.title:
        rows = [[qualified(resource, row[0]), *row[1:]] for row in rows]
    if with_namespace and resource.type.namespaced:
        titles = ["NAMESPACE", *titles]
        rows = [[obj.namespace, *row] for obj, row in zip(typed, rows, strict=True)]
    return table(titles, rows)


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Left-aligned columns, three spaces apart; on a terminal they fit into its width."""
    return screen.table(titles, rows, screen.columns())


def qualified(resource: Resource, name: str) -> str:
    """The way kubectl names an object: pod/client, deployment.apps/business-manager."""
    group, slash, _ = resource.type.API_VERSION.partition("/")
    return f"{resource.kind.lower()}{'.' + group if slash else ''}/{name}"


def age(since: str | float | None) -> str:
    """The time since an RFC 3339 timestamp or seconds of the epoch, as kubectl shortens it: 5s, 2m3s, 4h, 12d."""
    if not since:
        return "<unknown>"
    then = datetime.fromisoformat(since).timestamp() if isinstance(since, str) else since
    return duration(datetime.now(UTC).timestamp() - then)


def duration(seconds: float) -> str:
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    return f"{hours}h" if hours < 48 else f"{hours // 24}d"


# --- Cells -----------------------------------------------------------------------------------------------------------


def _name(obj: Object) -> str:
    return obj.name


def _age(obj: Object) -> str:
    return age(obj.metadata.creationTimestamp)


def _labels(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{k}={v}" for k, v in (labels or {}).items()) or "<none>"


def _selector(selector: LabelSelector) -> str:
    return _labels(selector.matchLabels)


def _some(values: Iterable[object]) -> str:
    return ",".join(str(v) for v in values if v != "") or "<none>"


def _shortened(values: Sequence[str]) -> str:
    more = f" + {len(values) - 3} more..." if len(values) > 3 else ""
    return _some(values[:3]) + more


def _restarts(pod: Pod) -> str:
    count, last = restart_count(pod), last_restart(pod)
    return f"{count} ({age(last)} ago)" if count and last else str(count)


def _container_ports(template: Pod | PodTemplateSpec) -> str:
    return _some(f"{p.containerPort}/{p.protocol}" for c in template.spec.serving_containers for p in c.ports)


def _node_status(node: Node) -> str:
    status = "Unknown"
    for condition in node.status.conditions:
        if condition.type == "Ready":
            status = {"True": "Ready", "False": "NotReady"}.get(condition.status, "Unknown")
    return status + (",SchedulingDisabled" if node.spec.unschedulable else "")


def _service_ports(service: Service) -> str:
    return _some(
        f"{p.port}:{p.nodePort}/{p.protocol}" if p.nodePort else f"{p.port}/{p.protocol}" for p in service.spec.ports
    )


def _cluster_ip(service: Service) -> str:
    return _some(service.clusterIPs or (service.spec.clusterIP or "",))


def _external_ip(service: Service) -> str:
    if service.spec.type == "ExternalName":
        return service.spec.externalName
    ingress = [i.ip or i.hostname for i in service.status.loadBalancer.ingress]
    if service.spec.type == "LoadBalancer" and not ingress and not service.spec.externalIPs:
        return "<pending>"
    return _some([*ingress, *service.spec.externalIPs])


def _endpoints(endpoints: Endpoints) -> str:
    pairs = [f"{a.ip}:{p.port}" for subset in endpoints.subsets for p in subset.ports for a in subset.addresses]
    return _shortened(pairs)


def _deployment_ready(deployment: Deployment) -> str:
    return f"{deployment.status.readyReplicas}/{deployment.spec.replicas}"


def _seen(event: Any) -> str:
    return str(event.seen)


def _event_object(event: Event) -> str:
    return f"{event.involvedObject.kind.lower()}/{event.involvedObject.name}"


def _event_source(event: Event) -> str:
    return ", ".join(word for word in (event.origin.component, event.origin.host) if word) or event.reportingComponent


def _lab_nodes(lab: Lab) -> str:
    nodes = lab.spec.nodes
    return str(nodes) if isinstance(nodes, int) else _some(n.name for n in nodes)


NAME, AGE = Column("NAME", _name), Column("AGE", _age)

COLUMNS: dict[type[Object], tuple[Column, ...]] = {
    Namespace: (NAME, Column("STATUS", lambda n: "Terminating" if n.metadata.deletionTimestamp else "Active"), AGE),
    Node: (
        NAME,
        Column("STATUS", _node_status),
        AGE,
        Column("INTERNAL-IP", lambda n: _some(n.addresses)),
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
        Column("NODE", lambda p: p.spec.nodeName or "<none>"),
        Column("PORTS", _container_ports, wide=True),
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
        Column("PORTS", lambda s: _some(p.port if p.port is not None else "*" for p in s.ports)),
        Column("ENDPOINTS", lambda s: _shortened([a for e in s.endpoints for a in e.addresses[:1]])),
        AGE,
    ),
    Deployment: (
        NAME,
        Column("READY", _deployment_ready),
        Column("UP-TO-DATE", lambda d: str(d.status.updatedReplicas)),
        Column("AVAILABLE", lambda d: str(d.status.availableReplicas)),
        AGE,
        Column("CONTAINERS", lambda d: _some(c.name for c in d.spec.template.spec.containers), wide=True),
        Column("PORTS", lambda d: _container_ports(d.spec.template), wide=True),
        Column("SELECTOR", lambda d: _selector(d.spec.selector), wide=True),
    ),
    ReplicaSet: (
        NAME,
        Column("DESIRED", lambda r: str(r.spec.replicas)),
        Column("CURRENT", lambda r: str(r.status.replicas)),
        Column("READY", lambda r: str(r.status.readyReplicas)),
        AGE,
        Column("SELECTOR", lambda r: _selector(r.spec.selector), wide=True),
    ),
    Event: (
        Column("LAST SEEN", lambda e: age(e.seen)),
        Column("TYPE", lambda e: e.type),
        Column("REASON", lambda e: e.reason),
        Column("OBJECT", _event_object),
        Column("SUBOBJECT", lambda e: e.involvedObject.fieldPath, wide=True),
        Column("SOURCE", _event_source, wide=True),
        Column("MESSAGE", lambda e: " ".join(e.message.split())),
        Column("FIRST SEEN", lambda e: age(e.firstTimestamp), wide=True),
        Column("COUNT", lambda e: str(e.count), wide=True),
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
