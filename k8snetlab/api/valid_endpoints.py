"""What can be wrong with Endpoints and EndpointSlices.

Source: Kubernetes pkg/apis/core/validation and pkg/apis/discovery/validation.
"""

from __future__ import annotations

import functools

from k8snetlab.api.core import Endpoints
from k8snetlab.api.discovery import SERVICE_NAME, Endpoint, EndpointHints, EndpointSlice
from k8snetlab.api.meta import Object
from k8snetlab.api.problems import (
    Report,
    dns_label,
    dns_subdomain,
    label_value,
)
from k8snetlab.api.valid_address import app_protocol, is_plain, name_in_list, outside_address
from k8snetlab.api.words import Path, shorten

MAX_ENDPOINTS = 1000
MAX_HINTS = 8


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
            name_in_list(
                report, endpoints, ("subsets", s, "ports", p, "name"), port.name, names, needed=len(subset.ports) > 1
            )


def slice_(report: Report, slice_: EndpointSlice) -> None:
    if SERVICE_NAME not in slice_.metadata.labels:
        report.warn(slice_, ("metadata", "labels"), f"belongs to no Service without the label {SERVICE_NAME}: NAME")
    names: set[str] = set()
    for number, port in enumerate(slice_.ports):
        name_in_list(report, slice_, ("ports", number, "name"), port.name, names, needed=False)
        app_protocol(report, slice_, ("ports", number, "appProtocol"), port.appProtocol)
    if not slice_.addressType:
        report.error(slice_, ("addressType",), "Required value: IPv4, IPv6 or FQDN")
    if len(slice_.endpoints) > MAX_ENDPOINTS:
        message = f"Too many: {len(slice_.endpoints)}: must have at most {MAX_ENDPOINTS} items"
        report.error(slice_, ("endpoints",), message)
    version = {"IPv4": 4, "IPv6": 6}.get(slice_.addressType)
    for number, endpoint in enumerate(slice_.endpoints):
        if not _is_plain(endpoint, version):
            _endpoint(report, slice_, number, version)


def _is_plain(endpoint: Endpoint, version: int | None) -> bool:
    """Whether there is nothing to say of an endpoint, known with few steps: so are most."""
    addresses, node = endpoint.addresses, endpoint.nodeName
    return (
        len(addresses) == 1
        and is_plain(addresses[0], version)
        and (node is None or not _node_name(node))
        and not (endpoint.hostname or endpoint.zone or endpoint.hints)
    )


def _endpoint(report: Report, slice_: EndpointSlice, number: int, version: int | None) -> None:
    endpoint, path = slice_.endpoints[number], ("endpoints", number, "addresses")
    _of_node(report, slice_, ("endpoints", number), endpoint.hostname, endpoint.nodeName)
    if endpoint.zone and (problem := label_value(endpoint.zone)):
        report.error(slice_, ("endpoints", number, "zone"), problem)
    if endpoint.hints is not None:
        _hints(report, slice_, number, endpoint.hints)
    if not 1 <= len(endpoint.addresses) <= 100:
        report.error(slice_, path, f"takes 1 to 100 addresses, not {len(endpoint.addresses)}")
    for a, text in enumerate(endpoint.addresses):
        _of_type(report, slice_, (*path, a), text, version)


def _of_type(report: Report, slice_: EndpointSlice, path: Path, text: str, version: int | None) -> None:
    """Whether an address is of the slice's addressType; FQDN is a name."""
    if version is None:
        if slice_.addressType and (problem := dns_subdomain(text)):
            report.error(slice_, path, problem)
        return
    address = outside_address(report, slice_, path, text)
    if address and address.version != version:
        report.error(slice_, path, f"{text} is no {slice_.addressType} address, as addressType says")


def _hints(report: Report, slice_: EndpointSlice, number: int, hints: EndpointHints) -> None:
    """At most eight zones, and eight nodes, each once."""
    for field, names in (
        ("forZones", tuple(z.name for z in hints.forZones)),
        ("forNodes", tuple(n.name for n in hints.forNodes)),
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
    if node is not None and (problem := _node_name(node)):
        report.error(obj, (*path, "nodeName"), problem)


@functools.lru_cache(maxsize=1024)
def _node_name(name: str) -> str:
    """What is wrong with it. A thousand addresses are on a few nodes."""
    return dns_subdomain(name)
