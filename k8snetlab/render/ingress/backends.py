"""From a port of a Service to the addresses that answer for it: its endpoints that are ready."""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.core import Service, ServicePort
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.networking import ServiceBackendPort
from k8snetlab.api.selection import slices_by_service
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.render.ingress.model import Key


def port_of(service: Service, asked: ServiceBackendPort) -> ServicePort | None:
    """The port of the Service that a backend means, by its name or its number."""
    for port in service.spec.ports:
        if (asked.name and port.name == asked.name) or (asked.number and port.port == asked.number):
            return port
    return None


def problem_of(snapshot: Snapshot, key: Key, asked: ServiceBackendPort) -> tuple[str, str]:
    """Why there cannot be anybody who answers, as an Event's reason and message; "" twice where there can."""
    namespace, name = key
    service = snapshot.get(Service, name, namespace)
    if service is None:
        return "ServiceNotFound", f"service {namespace}/{name} does not exist: its requests are answered with 503"
    if service.spec.type == "ExternalName":
        said = f"service {namespace}/{name} is of type ExternalName, to which nothing is passed on here: 503"
        return "ServiceUnsupported", said
    if port_of(service, asked) is None:
        there = ", ".join(f"{port.name + ' ' if port.name else ''}{port.port}" for port in service.spec.ports)
        said = f"service {namespace}/{name} has no port {asked.name or asked.number} (it has {there or 'none'}): 503"
        return "ServicePortNotFound", said
    return "", ""


def addresses(snapshot: Snapshot, key: Key, asked: ServiceBackendPort, cluster_ip: bool = False) -> tuple[str, ...]:
    """address:port of each, sorted; with `cluster_ip` the Service's own."""
    namespace, name = key
    service = snapshot.get(Service, name, namespace)
    port = port_of(service, asked) if service else None
    if service is None or port is None or service.spec.type == "ExternalName":
        return ()
    if cluster_ip:
        own = service.clusterIPs[:1]
        return tuple(joined(ip, port.port) for ip in own if ip != "None")
    return tuple(sorted(set(_ready(snapshot, service, port))))


def _ready(snapshot: Snapshot, service: Service, port: ServicePort) -> Iterator[str]:
    families = service.spec.ipFamilies
    for one in snapshot.select(EndpointSlice, slices_by_service, service.key).values():
        if one.addressType == "FQDN" or (families and one.addressType != families[0]):
            continue
        number = next((p.port for p in one.ports if p.name == port.name and p.protocol == "TCP"), None)
        if number is None:
            continue
        for endpoint in one.endpoints:
            if endpoint.conditions.ready is not False:
                yield joined(endpoint.addresses[0], number)


def numbered(port: int | None) -> ServiceBackendPort:
    """A port by its number."""
    return ServiceBackendPort(number=port or 0)


def joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
