"""What can be wrong with Services, Endpoints and EndpointSlices.

Source: Kubernetes pkg/apis/core/validation (ValidateService, ValidateEndpointIP) and pkg/apis/discovery/validation.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from ipaddress import ip_network

from k8snetlab.api import addressing
from k8snetlab.api.addressing import Address
from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.core import KUBERNETES, NODE_PORTS, Endpoints, Pod, Service, ServicePort
from k8snetlab.api.discovery import SERVICE_NAME, Endpoint, EndpointSlice
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Labels, Object
from k8snetlab.api.networking import IPAddress
from k8snetlab.api.problems import (
    Report,
    dns_label,
    dns_subdomain,
    label_value,
    labels,
    place,
    port_name,
    qualified_name,
)
from k8snetlab.api.rules import PORTS, invalid
from k8snetlab.api.selection import (
    pods_by_label,
    selects,
    services_by_ip,
    services_by_label,
    services_by_node_port,
    slices_by_service,
    templates_by_label,
)
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import Path, shorten
from k8snetlab.api.workloads import DaemonSet, Job, ReplicationController, StatefulSet, Workload

MAX_ENDPOINTS = 1000
MAX_HINTS = 8
SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
KUBELET_PORT = 10250


def service(report: Report, service: Service, world: Snapshot) -> None:
    spec = service.spec
    _ports(report, service, world)
    _cluster_ip(report, service, world)
    _policies(report, service)
    for number, text in enumerate(spec.externalIPs):
        outside_address(report, service, ("spec", "externalIPs", number), text)
    ranges, written = _source_ranges(service)
    for number, text in enumerate(ranges):
        path: Path = (*written, number) if written[0] == "spec" else written
        if spec.type != "LoadBalancer":
            report.error(service, path, "Forbidden: may only be used when `type` is 'LoadBalancer'")
        try:
            addressing.api_network(text.strip())
        except ValueError as error:
            report.error(service, path, str(error))
    for number, ingress in enumerate(service.status.loadBalancer.ingress):
        where: Path = ("status", "loadBalancer", "ingress", number)
        if ingress.ip:
            _address(report, service, (*where, "ip"), ingress.ip)
        if ingress.hostname and (problem := dns_subdomain(ingress.hostname)):
            report.error(service, (*where, "hostname"), problem)
    if spec.selector:
        labels(report, service, ("spec", "selector"), spec.selector)
        _selection(report, service, world)


def _source_ranges(service: Service) -> tuple[Sequence[str], Path]:
    """The source ranges and where they are written: in the field, else in the annotation that was before it."""
    if service.spec.loadBalancerSourceRanges or SOURCE_RANGES not in service.metadata.annotations:
        return service.spec.loadBalancerSourceRanges, ("spec", "loadBalancerSourceRanges")
    text = service.metadata.annotations[SOURCE_RANGES].strip()
    return text.split(",") if text else (), ("metadata", "annotations", SOURCE_RANGES)


def endpoints(report: Report, endpoints: Endpoints) -> None:
    for s, subset in enumerate(endpoints.subsets):
        for field, addresses in (("addresses", subset.addresses), ("notReadyAddresses", subset.notReadyAddresses)):
            for a, address in enumerate(addresses):
                where: Path = ("subsets", s, field, a)
                outside_address(report, endpoints, (*where, "ip"), address.ip)
                _of_node(report, endpoints, where, address.hostname, address.nodeName)
        if not subset.addresses and not subset.notReadyAddresses:
            report.error(endpoints, ("subsets", s), "Required value: must specify `addresses` or `notReadyAddresses`")
        names: set[str] = set()
        for p, port in enumerate(subset.ports):
            _name_in_list(
                report, endpoints, ("subsets", s, "ports", p, "name"), port.name, names, needed=len(subset.ports) > 1
            )


def slice_(report: Report, slice_: EndpointSlice) -> None:
    if SERVICE_NAME not in slice_.metadata.labels:
        report.warn(slice_, ("metadata", "labels"), f"belongs to no Service without the label {SERVICE_NAME}: NAME")
    names: set[str] = set()
    for number, port in enumerate(slice_.ports):
        _name_in_list(report, slice_, ("ports", number, "name"), port.name, names, needed=False)
        _app_protocol(report, slice_, ("ports", number, "appProtocol"), port.appProtocol)
    if not slice_.addressType:
        report.error(slice_, ("addressType",), "Required value: IPv4, IPv6 or FQDN")
    if len(slice_.endpoints) > MAX_ENDPOINTS:
        message = f"Too many: {len(slice_.endpoints)}: must have at most {MAX_ENDPOINTS} items"
        report.error(slice_, ("endpoints",), message)
    for number, endpoint in enumerate(slice_.endpoints):
        path: Path = ("endpoints", number, "addresses")
        _of_node(report, slice_, ("endpoints", number), endpoint.hostname, endpoint.nodeName)
        if endpoint.zone and (problem := label_value(endpoint.zone)):
            report.error(slice_, ("endpoints", number, "zone"), problem)
        _hints(report, slice_, number, endpoint)
        if not 1 <= len(endpoint.addresses) <= 100:
            report.error(slice_, path, f"takes 1 to 100 addresses, not {len(endpoint.addresses)}")
        for a, text in enumerate(endpoint.addresses):
            _of_type(report, slice_, (*path, a), text)


def _of_type(report: Report, slice_: EndpointSlice, path: Path, text: str) -> None:
    """Whether an address is of the slice's addressType; FQDN is a name."""
    version = {"IPv4": 4, "IPv6": 6}.get(slice_.addressType)
    if version is None:
        if slice_.addressType and (problem := dns_subdomain(text)):
            report.error(slice_, path, problem)
        return
    address = outside_address(report, slice_, path, text)
    if address and address.version != version:
        report.error(slice_, path, f"{text} is no {slice_.addressType} address, as addressType says")


def _hints(report: Report, slice_: EndpointSlice, number: int, endpoint: Endpoint) -> None:
    """At most eight zones, and eight nodes, each once."""
    hints = endpoint.hints
    for field, names in (
        ("forZones", tuple(z.name for z in hints.forZones) if hints else ()),
        ("forNodes", tuple(n.name for n in hints.forNodes) if hints else ()),
    ):
        path: Path = ("endpoints", number, "hints", field)
        if len(names) > MAX_HINTS:
            report.error(slice_, path, f"Too many: {len(names)}: must have at most {MAX_HINTS} items")
        for n, name in enumerate(names):
            if name in names[:n]:
                report.error(slice_, (*path, n, "name"), f'Duplicate value: "{shorten(name)}"')
            if problem := label_value(name) if field == "forZones" else dns_subdomain(name):
                report.error(slice_, (*path, n, "name"), problem)


def _of_node(report: Report, obj: Object, path: Path, hostname: str | None, node: str | None) -> None:
    if hostname and (problem := dns_label(hostname)):
        report.error(obj, (*path, "hostname"), problem)
    if node is not None and (problem := dns_subdomain(node)):
        report.error(obj, (*path, "nodeName"), problem)


def _app_protocol(report: Report, obj: Object, path: Path, name: str | None) -> None:
    if name is not None and (problem := qualified_name(name)):
        report.error(obj, path, problem)


def outside_address(report: Report, obj: Object, path: Path, text: str) -> Address | None:
    """An address that packets can be sent on to. Source: ValidateNonSpecialIP, whose words these are."""
    address, problem = _outside(text)
    if problem:
        report.error(obj, path, problem)
    return address


@functools.lru_cache(maxsize=65536)
def _outside(text: str) -> tuple[Address | None, str]:
    """The address, if it is one, and what is wrong with it. Endpoints have a thousand, the same again and again."""
    try:
        address = addressing.api_address(text)
    except ValueError as error:
        return None, str(error)
    message = ""
    if address.is_unspecified:
        message = "may not be unspecified (0.0.0.0 or ::)"
    elif address.is_loopback:
        message = "may not be in the loopback range (127.0.0.0/8, ::1/128)"
    elif address.is_link_local:
        message = "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
    elif any(address in network for network in _LINK_LOCAL_MULTICAST if network.version == address.version):
        message = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
    return address, f'Invalid value: "{text}": {message}' if message else ""


_LINK_LOCAL_MULTICAST = (ip_network("224.0.0.0/24"), ip_network("ff02::/16"))
"""ff02::/16 is what is looked at, whatever the sentence says (Go's IsLinkLocalMulticast)."""


def _address(report: Report, obj: Object, path: Path, text: str) -> Address | None:
    try:
        return addressing.api_address(text)
    except ValueError as error:
        report.error(obj, path, str(error))
        return None


def _name_in_list(report: Report, obj: Object, path: Path, name: str, names: set[str], *, needed: bool) -> None:
    """A port's name, which comes to the `names` of the ports before it."""
    if not name and needed:
        report.error(obj, path, "is missing; where there are several ports each needs a name")
    if name and (problem := dns_label(name)):
        report.error(obj, path, problem)
    if name in names:
        report.error(obj, path, f'"{shorten(name)}" names another port already')
    if name:
        names.add(name)


# --- ports ----------------------------------------------------------------------------------------------------------


def _ports(report: Report, service: Service, world: Snapshot) -> None:
    spec = service.spec
    if not spec.ports and spec.type != "ExternalName" and spec.clusterIP != "None":
        report.error(service, ("spec", "ports"), "is missing; a Service needs a port unless it is headless")
    names: set[str] = set()
    seen: set[tuple[int, str]] = set()
    node_ports: set[tuple[str, int]] = set()
    for number, port in enumerate(spec.ports):
        path: Path = ("spec", "ports", number)
        _name_in_list(report, service, (*path, "name"), port.name, names, needed=len(spec.ports) > 1)
        if (port.port, port.protocol) in seen:
            report.error(service, (*path, "port"), f"{port.port}/{port.protocol} appears twice")
        seen.add((port.port, port.protocol))
        if isinstance(port.targetPort, int) and not 1 <= port.targetPort <= 65535:
            report.error(service, (*path, "targetPort"), invalid(port.targetPort, PORTS))
        if isinstance(port.targetPort, str) and (problem := port_name(port.targetPort)):
            report.error(service, (*path, "targetPort"), problem)
        _app_protocol(report, service, (*path, "appProtocol"), port.appProtocol)
        if spec.type == "LoadBalancer" and port.port == KUBELET_PORT:
            message = (
                f"Invalid value: {port.port}: may not expose port {port.port} externally since it is used by kubelet"
            )
            report.error(service, (*path, "port"), message)
        if port.nodePort:
            if (port.protocol, port.nodePort) in node_ports:
                report.error(service, (*path, "nodePort"), f"{port.nodePort}/{port.protocol} appears twice")
            node_ports.add((port.protocol, port.nodePort))
            _node_port(report, service, number, port, world)


def _node_port(report: Report, service: Service, number: int, port: ServicePort, world: Snapshot) -> None:
    path: Path = ("spec", "ports", number, "nodePort")
    if service.spec.type not in ("NodePort", "LoadBalancer"):
        message = f"may not be used when type is {service.spec.type}; add type: NodePort, or leave it out"
        report.error(service, path, message)
    if port.nodePort not in NODE_PORTS:
        message = f"{port.nodePort} is not in the valid range; use {NODE_PORTS[0]} to {NODE_PORTS[-1]}"
        report.error(service, path, message)
    for other in world.select(Service, services_by_node_port, (port.protocol, port.nodePort)).values():
        if report.earlier(other, service):
            message = f"{port.nodePort}: provided port is already allocated, to {place(other)}; choose another"
            report.error(service, path, message)


# --- addresses ------------------------------------------------------------------------------------------------------


def _cluster_ip(report: Report, service: Service, world: Snapshot) -> None:
    spec = service.spec
    given = spec.clusterIPs or ((spec.clusterIP,) if spec.clusterIP else ())
    if spec.type == "ExternalName":
        _external_name(report, service, given)
    elif "None" in given:
        _headless(report, service, given)
    else:
        _cluster_ips(report, service, given, world)


def _external_name(report: Report, service: Service, given: tuple[str, ...]) -> None:
    name = service.spec.externalName
    if given:
        report.error(service, ("spec", "clusterIP"), "may not be set when type is ExternalName")
    if not name:
        report.error(service, ("spec", "externalName"), "is missing; name the host, like db.example.com")
    elif problem := dns_subdomain(name.removesuffix(".")):
        report.error(service, ("spec", "externalName"), problem)


def _headless(report: Report, service: Service, given: tuple[str, ...]) -> None:
    if len(given) > 1 and set(given) != {"None"}:
        report.error(service, ("spec", "clusterIPs"), "None stands alone")
    if service.spec.type != "ClusterIP":
        report.error(service, ("spec", "clusterIP"), f"may not be None when type is {service.spec.type}")


def _cluster_ips(report: Report, service: Service, given: tuple[str, ...], world: Snapshot) -> None:
    spec = service.spec
    if spec.clusterIPs and spec.clusterIP and spec.clusterIPs[0] != spec.clusterIP:
        report.error(service, ("spec", "clusterIPs", 0), f"must be the same as spec.clusterIP, {spec.clusterIP}")
    versions: list[int] = []
    for number, text in enumerate(given):
        where: Path = ("spec", "clusterIPs", number) if number else ("spec", "clusterIP")
        address = _address(report, service, where, text)
        if address is None:
            continue
        versions.append(address.version)
        _in_range(report, service, where, address, world)
        for other in world.select(Service, services_by_ip, text).values():
            if report.earlier(other, service):
                message = f"failed to allocate IP {text}: provided IP is already allocated, to {place(other)}"
                report.error(service, where, message)
        reserved = world.get(IPAddress, text)
        if reserved is not None and not reserved.allocated:
            message = f"failed to allocate IP {text}: provided IP is already allocated, to {place(reserved)}"
            report.error(service, where, message)
    if len(given) > 2 or len(set(versions)) < len(versions):
        report.error(service, ("spec", "clusterIPs"), "takes one address, or one IPv4 and one IPv6 address")
    if len(set(spec.ipFamilies)) < len(spec.ipFamilies):
        report.error(service, ("spec", "ipFamilies"), "names a family twice")


def _in_range(report: Report, service: Service, path: Path, address: Address, world: Snapshot) -> None:
    lab = next(iter(world.all(Lab).values()), None)
    if lab is None:
        return
    try:
        networks = addressing.parse_networks(lab.spec.serviceCIDR)
    except ValueError:
        return
    network = next((n for n in networks if address in n), None)
    if network is None:
        report.error(service, path, f"{address} is not in the lab's serviceCIDR {lab.spec.serviceCIDR}")
    elif address == network.network_address or (address.version == 4 and address == network.broadcast_address):
        report.error(service, path, f"{address} is the network or broadcast address of {network}")
    elif address == network[1] and service.key != KUBERNETES:
        report.error(service, path, f"{address} is reserved for the Service default/kubernetes; choose another")


def _policies(report: Report, service: Service) -> None:
    spec = service.spec
    outer = spec.type in ("NodePort", "LoadBalancer") or (spec.type == "ClusterIP" and spec.externalIPs)
    if spec.externalTrafficPolicy and not outer:
        message = "may only be set for externally-accessible Services: NodePort, LoadBalancer or with externalIPs"
        report.error(service, ("spec", "externalTrafficPolicy"), message)
    if spec.healthCheckNodePort:
        if spec.type != "LoadBalancer" or spec.externalTrafficPolicy != "Local":
            message = "may only be set when type is LoadBalancer and externalTrafficPolicy is Local"
            report.error(service, ("spec", "healthCheckNodePort"), message)
        if spec.healthCheckNodePort not in NODE_PORTS:
            message = f"{spec.healthCheckNodePort} is not in the valid range {NODE_PORTS[0]} to {NODE_PORTS[-1]}"
            report.error(service, ("spec", "healthCheckNodePort"), message)
    only = "Forbidden: may only be used when `type` is 'LoadBalancer'"
    if spec.loadBalancerClass is not None:
        path: Path = ("spec", "loadBalancerClass")
        if problem := qualified_name(spec.loadBalancerClass):
            report.error(service, path, problem)
        if spec.type != "LoadBalancer":
            report.error(service, path, only)
    if spec.allocateLoadBalancerNodePorts is not None and spec.type != "LoadBalancer":
        report.error(service, ("spec", "allocateLoadBalancerNodePorts"), only)
    if spec.externalIPs:
        message = "externalIPs are deprecated since Kubernetes 1.36 and will stop working in a later release"
        report.notice(service, ("spec", "externalIPs"), message)


# --- what a selector finds ------------------------------------------------------------------------------------------


def _selection(report: Report, service: Service, world: Snapshot) -> None:
    if service.spec.type == "ExternalName":
        return
    found = 0
    ports: set[str] = set()
    for group in services_by_label(service):
        for pod in world.select(Pod, pods_by_label, group).values():
            if selects(service, pod.metadata.labels):
                found += 1
                ports |= {port.name for container in pod.spec.serving_containers for port in container.ports}
        workloads: list[Workload] = [
            *world.select(Deployment, templates_by_label, group).values(),
            *world.select(ReplicaSet, templates_by_label, group).values(),
            *world.select(DaemonSet, templates_by_label, group).values(),
            *world.select(StatefulSet, templates_by_label, group).values(),
            *world.select(ReplicationController, templates_by_label, group).values(),
            *world.select(Job, templates_by_label, group).values(),
        ]
        for template in (workload.spec.template for workload in workloads):
            if selects(service, template.metadata.labels):
                found += 1
                ports |= {port.name for container in template.spec.serving_containers for port in container.ports}
    if not found and not world.select(EndpointSlice, slices_by_service, service.key):
        report.warn(service, ("spec", "selector"), _nothing(service, world))
    for number, port in enumerate(service.spec.ports):
        if found and isinstance(port.targetPort, str) and port.targetPort not in ports:
            names = ", ".join(sorted(ports - {""})) or "none"
            message = f'no selected pod has a container port named "{port.targetPort}" (names there: {shorten(names)})'
            report.warn(service, ("spec", "ports", number, "targetPort"), message)


def _nothing(service: Service, world: Snapshot) -> str:
    wanted = ",".join(f"{k}={v}" for k, v in (service.spec.selector or {}).items())
    have: dict[str, None] = {}
    for found in filter(None, _label_sets(service.namespace, world)):
        have[",".join(f"{k}={v}" for k, v in found.items())] = None
        if len(have) >= 3:
            break
    there = f" (there are {shorten('; '.join(have))})" if have else ""
    return f"selects nothing: no Pod or Deployment in namespace {service.namespace} has labels {shorten(wanted)}{there}"


def _label_sets(namespace: str, world: Snapshot) -> Iterator[Labels]:
    for pod in world.all(Pod).values():
        if pod.namespace == namespace:
            yield pod.metadata.labels
    for workload in world.all(Deployment).values():
        if workload.namespace == namespace:
            yield workload.spec.template.metadata.labels
