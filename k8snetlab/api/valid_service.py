"""What can be wrong with Services, Endpoints and EndpointSlices.

Source: Kubernetes pkg/apis/core/validation (ValidateService, ValidateEndpointIP) and pkg/apis/discovery/validation.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_interface

from k8snetlab.api import addressing
from k8snetlab.api.addressing import Address, split
from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.core import Endpoints, Pod, Service, ServicePort
from k8snetlab.api.discovery import SERVICE_NAME, EndpointSlice
from k8snetlab.api.fields import shorten
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Labels, Object
from k8snetlab.api.problems import Report, dns_label, dns_subdomain, labels, place, port_name
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
from k8snetlab.api.source import Path

NODE_PORTS = range(30000, 32768)
KUBERNETES = ("default", "kubernetes")
"""The API server's own Service, which has the first address of the service network."""


def service(report: Report, service: Service, world: Snapshot) -> None:
    spec = service.spec
    _ports(report, service, world)
    _cluster_ip(report, service, world)
    _policies(report, service)
    for number, text in enumerate(spec.externalIPs):
        outside_address(report, service, ("spec", "externalIPs", number), text)
    for number, text in enumerate(spec.loadBalancerSourceRanges):
        path: Path = ("spec", "loadBalancerSourceRanges", number)
        if spec.type != "LoadBalancer":
            report.error(service, path, "only a Service of type LoadBalancer has source ranges")
        try:
            if "/" not in text:
                raise ValueError
            ip_interface(text.strip())
        except ValueError:
            report.error(service, path, f'"{shorten(text)}" is no range of addresses; write it like 203.0.113.0/24')
    for number, ingress in enumerate(service.status.loadBalancer.ingress):
        if ingress.ip:
            _address(report, service, ("status", "loadBalancer", "ingress", number, "ip"), ingress.ip)
    if spec.selector:
        labels(report, service, ("spec", "selector"), spec.selector)
        _selection(report, service, world)


def endpoints(report: Report, endpoints: Endpoints) -> None:
    for s, subset in enumerate(endpoints.subsets):
        for field, addresses in (("addresses", subset.addresses), ("notReadyAddresses", subset.notReadyAddresses)):
            for a, address in enumerate(addresses):
                outside_address(report, endpoints, ("subsets", s, field, a, "ip"), address.ip)
        if not subset.addresses and not subset.notReadyAddresses:
            report.error(endpoints, ("subsets", s), "has no addresses")
        names: set[str] = set()
        for p, port in enumerate(subset.ports):
            _name_in_list(report, endpoints, ("subsets", s, "ports", p, "name"), port.name, names, len(subset.ports))


def slice_(report: Report, slice_: EndpointSlice) -> None:
    if SERVICE_NAME not in slice_.metadata.labels:
        report.warn(slice_, ("metadata", "labels"), f"belongs to no Service without the label {SERVICE_NAME}: NAME")
    names: set[str] = set()
    for number, port in enumerate(slice_.ports):
        _name_in_list(report, slice_, ("ports", number, "name"), port.name, names, 1)
    version = {"IPv4": 4, "IPv6": 6}.get(slice_.addressType)
    for number, endpoint in enumerate(slice_.endpoints):
        path: Path = ("endpoints", number, "addresses")
        if not 1 <= len(endpoint.addresses) <= 100:
            report.error(slice_, path, f"takes 1 to 100 addresses, not {len(endpoint.addresses)}")
        for a, text in enumerate(endpoint.addresses):
            if version is None:
                if problem := dns_subdomain(text):
                    report.error(slice_, (*path, a), problem)
                continue
            address = outside_address(report, slice_, (*path, a), text)
            if address and address.version != version:
                report.error(slice_, (*path, a), f"{text} is no {slice_.addressType} address, as addressType says")


def outside_address(report: Report, obj: Object, path: Path, text: str) -> Address | None:
    """An address that packets can be sent on to: not loopback, link-local, multicast or unspecified."""
    address = _address(report, obj, path, text)
    if address and (address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified):
        what = "loopback" if address.is_loopback else "link-local, multicast or unspecified"
        report.error(obj, path, f"{text} is {what}; packets cannot be sent on to it from a node")
    return address


def _address(report: Report, obj: Object, path: Path, text: str) -> Address | None:
    try:
        return addressing.address(text)
    except ValueError as error:
        report.error(obj, path, str(error))
        return None


def _name_in_list(report: Report, obj: Object, path: Path, name: str, names: set[str], count: int) -> None:
    if not name and count > 1:
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
        _name_in_list(report, service, (*path, "name"), port.name, names, len(spec.ports))
        if (port.port, port.protocol) in seen:
            report.error(service, (*path, "port"), f"{port.port}/{port.protocol} appears twice")
        seen.add((port.port, port.protocol))
        if isinstance(port.targetPort, int) and not 1 <= port.targetPort <= 65535:
            report.error(service, (*path, "targetPort"), f"{port.targetPort} is out of range; use 1 to 65535")
        if isinstance(port.targetPort, str) and (problem := port_name(port.targetPort)):
            report.error(service, (*path, "targetPort"), problem)
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
    path: Path = ("spec", "clusterIP")
    given = spec.clusterIPs or ((spec.clusterIP,) if spec.clusterIP else ())
    if spec.type == "ExternalName":
        if given:
            report.error(service, path, "may not be set when type is ExternalName")
        if not spec.externalName:
            report.error(service, ("spec", "externalName"), "is missing; name the host, like db.example.com")
        elif problem := dns_subdomain(spec.externalName.rstrip(".").lower()):
            report.error(service, ("spec", "externalName"), problem)
        return
    if "None" in given:
        if len(given) > 1 and set(given) != {"None"}:
            report.error(service, ("spec", "clusterIPs"), "None stands alone")
        if spec.type != "ClusterIP":
            report.error(service, path, f"may not be None when type is {spec.type}")
        return
    if spec.clusterIPs and spec.clusterIP and spec.clusterIPs[0] != spec.clusterIP:
        report.error(service, ("spec", "clusterIPs", 0), f"must be the same as spec.clusterIP, {spec.clusterIP}")
    versions: list[int] = []
    for number, text in enumerate(given):
        where = ("spec", "clusterIPs", number) if number else path
        address = _address(report, service, where, text)
        if address is None:
            continue
        versions.append(address.version)
        _in_range(report, service, where, address, world)
        for other in world.select(Service, services_by_ip, text).values():
            if report.earlier(other, service):
                message = f"failed to allocate IP {text}: provided IP is already allocated, to {place(other)}"
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
        networks = addressing.networks(lab.spec.serviceCIDR)
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
    if spec.sessionAffinity == "None" and spec.sessionAffinityConfig is not None:
        message = "must not be set when sessionAffinity is None; set sessionAffinity: ClientIP"
        report.error(service, ("spec", "sessionAffinityConfig"), message)
    for text in split(spec.loadBalancerIP):
        _address(report, service, ("spec", "loadBalancerIP"), text)


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
        workloads: list[Deployment | ReplicaSet] = [
            *world.select(Deployment, templates_by_label, group).values(),
            *world.select(ReplicaSet, templates_by_label, group).values(),
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
