"""The columns of each kind's table, in a real API server's order and words.

Source: Kubernetes pkg/printers/internalversion/printers.go.
"""

from __future__ import annotations

from k8snetlab.api import columns_gateway, columns_networking, columns_rbac, columns_workloads
from k8snetlab.api.ages import age
from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.cells import (
    AGE,
    NAME,
    NONE,
    PENDING,
    UNKNOWN,
    UNSET,
    Column,
    containers_of,
    cut,
    first_of,
    images_of,
    labels,
    name_of,
    selector_of,
    some,
)
from k8snetlab.api.config import ConfigMap, Secret, ServiceAccount
from k8snetlab.api.core import (
    Endpoints,
    Namespace,
    Node,
    Pod,
    Service,
)
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.events import Event
from k8snetlab.api.guest import Guest
from k8snetlab.api.kubeproxy import KubeProxyConfiguration
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.pod_state import last_restart, restart_count, shown_ready, shown_status

ROLE = "node-role.kubernetes.io/"


# --- pods and what makes them ---


def _restarts(pod: Pod, now: float) -> str:
    count, last = restart_count(pod), last_restart(pod)
    return f"{count} ({age(last, now)} ago)" if count and last else str(count)


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
    return some(
        f"{p.port}:{p.nodePort}/{p.protocol}" if p.nodePort else f"{p.port}/{p.protocol}" for p in service.spec.ports
    )


def _cluster_ip(service: Service) -> str:
    return some(service.clusterIPs or (service.spec.clusterIP,))


def external_ip(service: Service, wide: bool = True) -> str:
    """What leads to it from outside; long lists of a load balancer's are cut unless all is wanted (`wide`)."""
    spec = service.spec
    if spec.type == "ExternalName":
        return spec.externalName
    if spec.type != "LoadBalancer":
        return some(spec.externalIPs)
    given = ",".join(sorted({i.ip or i.hostname for i in service.status.loadBalancer.ingress} - {""}))
    given = given if wide else cut(given)
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
    return first_of(found, "")


def _host_port(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _slice_ports(slice_: EndpointSlice) -> str:
    return first_of([str(port.port) if port.port is not None else port.name for port in slice_.ports], UNSET)


def _slice_endpoints(slice_: EndpointSlice) -> str:
    return first_of([address for endpoint in slice_.endpoints for address in endpoint.addresses], UNSET)


# --- Events ---


def _event_object(event: Event) -> str:
    about = event.involvedObject
    return f"{about.kind.lower()}/{about.name}" if about.name else about.kind.lower()


def _event_source(event: Event) -> str:
    component, instance = event.origin.component or event.reportingComponent, event.origin.host
    return ", ".join(word for word in (component, instance or event.reportingInstance) if word)


def _lab_nodes(lab: Lab) -> str:
    nodes = lab.spec.nodes
    return str(nodes) if isinstance(nodes, int) else some(n.name for n in nodes)


COLUMNS: dict[type[Object], tuple[Column, ...]] = {
    Namespace: (
        NAME,
        Column("Status", lambda n: "Terminating" if n.metadata.deletionTimestamp else n.status.phase),
        AGE,
    ),
    Node: (
        NAME,
        Column("Status", _node_status),
        Column("Roles", _roles),
        AGE,
        Column("Version", lambda n: n.status.nodeInfo.kubeletVersion),
        Column("Internal-IP", lambda n: some(n.addresses), wide=True),
        Column("External-IP", _external, wide=True),
        Column("OS-Image", lambda n: n.status.nodeInfo.osImage or UNKNOWN, wide=True),
        Column("Kernel-Version", lambda n: n.status.nodeInfo.kernelVersion or UNKNOWN, wide=True),
        Column("Container-Runtime", lambda n: n.status.nodeInfo.containerRuntimeVersion or UNKNOWN, wide=True),
    ),
    Pod: (
        NAME,
        Column("Ready", shown_ready),
        Column("Status", shown_status),
        Column("Restarts", timed=_restarts),
        AGE,
        Column("IP", lambda p: some(p.ips), wide=True),
        Column("Node", lambda p: p.spec.nodeName or NONE, wide=True),
        Column("Nominated Node", lambda p: NONE, wide=True),
        Column("Readiness Gates", lambda p: NONE, wide=True),
    ),
    Service: (
        NAME,
        Column("Type", lambda s: s.spec.type),
        Column("Cluster-IP", _cluster_ip),
        Column("External-IP", external_ip),
        Column("Port(s)", _service_ports),
        AGE,
        Column("Selector", lambda s: labels(s.spec.selector), wide=True),
    ),
    Endpoints: (NAME, Column("Endpoints", _endpoints), AGE),
    EndpointSlice: (
        NAME,
        Column("AddressType", lambda s: s.addressType),
        Column("Ports", _slice_ports),
        Column("Endpoints", _slice_endpoints),
        AGE,
    ),
    Deployment: (
        NAME,
        Column("Ready", lambda d: f"{d.status.readyReplicas}/{d.spec.replicas}"),
        Column("Up-to-date", lambda d: d.status.updatedReplicas, type="integer"),
        Column("Available", lambda d: d.status.availableReplicas, type="integer"),
        AGE,
        Column("Containers", lambda d: containers_of(d.spec.template.spec), wide=True),
        Column("Images", lambda d: images_of(d.spec.template.spec), wide=True),
        Column("Selector", lambda d: selector_of(d.spec.selector), wide=True),
    ),
    ReplicaSet: (
        NAME,
        Column("Desired", lambda r: r.spec.replicas, type="integer"),
        Column("Current", lambda r: r.status.replicas, type="integer"),
        Column("Ready", lambda r: r.status.readyReplicas, type="integer"),
        AGE,
        Column("Containers", lambda r: containers_of(r.spec.template.spec), wide=True),
        Column("Images", lambda r: images_of(r.spec.template.spec), wide=True),
        Column("Selector", lambda r: selector_of(r.spec.selector), wide=True),
    ),
    Event: (
        Column("Last Seen", timed=lambda e, now: age(e.lastTimestamp or e.firstTimestamp or e.eventTime, now)),
        Column("Type", lambda e: e.type),
        Column("Reason", lambda e: e.reason),
        Column("Object", _event_object),
        Column("Subobject", lambda e: e.involvedObject.fieldPath, wide=True),
        Column("Source", _event_source, wide=True),
        Column("Message", lambda e: " ".join(e.message.split())),
        Column("First Seen", timed=lambda e, now: age(e.firstTimestamp or e.eventTime, now), wide=True),
        Column("Count", lambda e: e.count or 1, wide=True, type="integer"),
        Column("Name", name_of, wide=True),
    ),
    ConfigMap: (NAME, Column("Data", lambda c: len(c.data) + len(c.binaryData), type="integer"), AGE),
    Secret: (NAME, Column("Type", lambda s: s.type), Column("Data", lambda s: len(s.data), type="integer"), AGE),
    ServiceAccount: (NAME, Column("Secrets", lambda s: len(s.secrets), type="integer"), AGE),
    Lab: (
        NAME,
        Column("Nodes", _lab_nodes),
        Column("Pod-CIDR", lambda lab: lab.spec.podCIDR),
        Column("Service-CIDR", lambda lab: lab.spec.serviceCIDR),
        Column("Backend", lambda lab: lab.spec.network.backend),
        AGE,
    ),
    Guest: (
        NAME,
        Column("Node", lambda g: g.spec.nodeName or NONE),
        Column("Pod", lambda g: g.pod or NONE),
        AGE,
        Column("Command", lambda g: " ".join(g.spec.command), wide=True),
    ),
    KubeProxyConfiguration: (
        NAME,
        Column("Mode", lambda c: c.mode or "iptables"),
        Column("Cluster-CIDR", lambda c: c.clusterCIDR or "<lab>"),
        AGE,
    ),
    **columns_gateway.COLUMNS,
    **columns_networking.COLUMNS,
    **columns_rbac.COLUMNS,
    **columns_workloads.COLUMNS,
}


def columns_of(type_: type[Object]) -> tuple[Column, ...]:
    """Of a kind without columns of its own: name and age, as of a custom resource."""
    return COLUMNS.get(type_, (NAME, AGE))
