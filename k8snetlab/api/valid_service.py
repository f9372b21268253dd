"""What can be wrong with Services.

Source: Kubernetes pkg/apis/core/validation (ValidateService).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from k8snetlab.api import addressing, valid_selection
from k8snetlab.api.addressing import Address, IPNetwork
from k8snetlab.api.core import KUBERNETES, NODE_PORTS, Service, ServicePort, ServiceSpec
from k8snetlab.api.lab import Lab
from k8snetlab.api.networking import IPAddress
from k8snetlab.api.problems import (
    Report,
    dns_subdomain,
    labels,
    place,
    port_name,
    qualified_name,
)
from k8snetlab.api.rules import PORTS, invalid
from k8snetlab.api.selection import (
    services_by_ip,
    services_by_node_port,
)
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.valid_address import any_address, app_protocol, name_in_list, outside_address
from k8snetlab.api.words import Path, shorten

SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
KUBELET_PORT = 10250


def alone(report: Report, service: Service) -> None:
    """By itself."""
    spec = service.spec
    _ports(report, service)
    _cluster_ip(report, service)
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
            any_address(report, service, (*where, "ip"), ingress.ip)
        if ingress.hostname and (problem := dns_subdomain(ingress.hostname)):
            report.error(service, (*where, "hostname"), problem)
    labels(report, service, ("spec", "selector"), spec.selector or {})


def among(report: Report, service: Service, world: Snapshot) -> None:
    """With all others: whether what it asks for is free, and what it selects is there."""
    spec = service.spec
    for number, port in enumerate(spec.ports):
        if port.nodePort:
            _node_port_free(report, service, number, port, world)
    if spec.type != "ExternalName" and "None" not in (given := _given(spec)):
        _cluster_ips_free(report, service, given, world)
    for number, text in enumerate(spec.externalIPs):
        if holder := next((host.name for host in world.lab.spec.hosts if text in host.addresses), ""):
            report.error(service, ("spec", "externalIPs", number), f"{text} is the address of host {holder} outside")
    if spec.selector:
        valid_selection.check(report, service, world)


def _source_ranges(service: Service) -> tuple[Sequence[str], Path]:
    """The source ranges and where they are written: in the field, else in the annotation that was before it."""
    if service.spec.loadBalancerSourceRanges or SOURCE_RANGES not in service.metadata.annotations:
        return service.spec.loadBalancerSourceRanges, ("spec", "loadBalancerSourceRanges")
    text = service.metadata.annotations[SOURCE_RANGES].strip()
    return text.split(",") if text else (), ("metadata", "annotations", SOURCE_RANGES)


def _ports(report: Report, service: Service) -> None:
    spec = service.spec
    if not spec.ports and spec.type != "ExternalName" and spec.clusterIP != "None":
        report.error(service, ("spec", "ports"), "is missing; a Service needs a port unless it is headless")
    names: set[str] = set()
    seen: set[tuple[int, str]] = set()
    node_ports: set[tuple[str, int]] = set()
    for number, port in enumerate(spec.ports):
        path: Path = ("spec", "ports", number)
        name_in_list(report, service, (*path, "name"), port.name, names, needed=len(spec.ports) > 1)
        if (port.port, port.protocol) in seen:
            report.error(service, (*path, "port"), f"{port.port}/{port.protocol} appears twice")
        seen.add((port.port, port.protocol))
        if isinstance(port.targetPort, int) and not 1 <= port.targetPort <= 65535:
            report.error(service, (*path, "targetPort"), invalid(port.targetPort, PORTS))
        if isinstance(port.targetPort, str) and (problem := port_name(port.targetPort)):
            report.error(service, (*path, "targetPort"), problem)
        app_protocol(report, service, (*path, "appProtocol"), port.appProtocol)
        if spec.type == "LoadBalancer" and port.port == KUBELET_PORT:
            message = (
                f"Invalid value: {port.port}: may not expose port {port.port} externally since it is used by kubelet"
            )
            report.error(service, (*path, "port"), message)
        if port.nodePort:
            if (port.protocol, port.nodePort) in node_ports:
                report.error(service, (*path, "nodePort"), f"{port.nodePort}/{port.protocol} appears twice")
            node_ports.add((port.protocol, port.nodePort))
            _node_port(report, service, number, port)


def _node_port(report: Report, service: Service, number: int, port: ServicePort) -> None:
    path: Path = ("spec", "ports", number, "nodePort")
    if service.spec.type not in ("NodePort", "LoadBalancer"):
        message = f"may not be used when type is {service.spec.type}; add type: NodePort, or leave it out"
        report.error(service, path, message)
    if port.nodePort not in NODE_PORTS:
        message = f"{port.nodePort} is not in the valid range; use {NODE_PORTS[0]} to {NODE_PORTS[-1]}"
        report.error(service, path, message)


def _node_port_free(report: Report, service: Service, number: int, port: ServicePort, world: Snapshot) -> None:
    for other in world.select(Service, services_by_node_port, (port.protocol, port.nodePort)).values():
        if report.earlier(other, service):
            message = f"{port.nodePort}: provided port is already allocated, to {place(other)}; choose another"
            report.error(service, ("spec", "ports", number, "nodePort"), message)


def _given(spec: ServiceSpec) -> tuple[str, ...]:
    return spec.clusterIPs or ((spec.clusterIP,) if spec.clusterIP else ())


def _cluster_ip(report: Report, service: Service) -> None:
    spec = service.spec
    given = _given(spec)
    if spec.type == "ExternalName":
        _external_name(report, service, given)
    elif "None" in given:
        _headless(report, service, given)
    else:
        _cluster_ips(report, service, given)


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


def _cluster_ips(report: Report, service: Service, given: tuple[str, ...]) -> None:
    spec = service.spec
    if spec.clusterIPs and spec.clusterIP and spec.clusterIPs[0] != spec.clusterIP:
        report.error(service, ("spec", "clusterIPs", 0), f"must be the same as spec.clusterIP, {spec.clusterIP}")
    addresses = [any_address(report, service, _where(number), text) for number, text in enumerate(given)]
    versions = [address.version for address in addresses if address is not None]
    if len(given) > 2 or len(set(versions)) < len(versions):
        report.error(service, ("spec", "clusterIPs"), "takes one address, or one IPv4 and one IPv6 address")
    if len(set(spec.ipFamilies)) < len(spec.ipFamilies):
        report.error(service, ("spec", "ipFamilies"), "names a family twice")


def _where(number: int) -> Path:
    """Of a cluster IP."""
    return ("spec", "clusterIPs", number) if number else ("spec", "clusterIP")


def _cluster_ips_free(report: Report, service: Service, given: tuple[str, ...], world: Snapshot) -> None:
    for number, text in enumerate(given):
        try:
            address = addressing.api_address(text)
        except ValueError:
            continue  # said already
        where = _where(number)
        _in_range(report, service, where, address, world)
        for other in world.select(Service, services_by_ip, text).values():
            if report.earlier(other, service):
                message = f"failed to allocate IP {text}: provided IP is already allocated, to {place(other)}"
                report.error(service, where, message)
        reserved = world.get(IPAddress, text)
        if reserved is not None and not reserved.allocated:
            message = f"failed to allocate IP {text}: provided IP is already allocated, to {place(reserved)}"
            report.error(service, where, message)


def _in_range(report: Report, service: Service, path: Path, address: Address, world: Snapshot) -> None:
    lab = next(iter(world.all(Lab).values()), None)
    if lab is None:
        return
    try:
        ranges = _ranges(lab.spec.serviceCIDR)
    except ValueError:
        return
    number = int(address)
    for network, first, last in ranges:
        if network.version != address.version or not first <= number <= last:
            continue
        if number == first or (address.version == 4 and number == last):
            report.error(service, path, f"{address} is the network or broadcast address of {network}")
        elif number == first + 1 and service.key != KUBERNETES:
            report.error(service, path, f"{address} is reserved for the Service default/kubernetes; choose another")
        return
    report.error(service, path, f"{address} is not in the lab's serviceCIDR {shorten(lab.spec.serviceCIDR)}")


@lru_cache(maxsize=16)
def _ranges(cidrs: str) -> list[tuple[IPNetwork, int, int]]:
    """Networks, each with its first and last address as numbers. Raises ValueError."""
    networks = addressing.parse_networks(cidrs)
    return [(one, int(one.network_address), int(one.broadcast_address)) for one in networks]


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
