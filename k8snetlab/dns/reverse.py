"""Names of addresses: in-addr.arpa and ip6.arpa.

Source: RFC 1035 3.5, RFC 3596 2.5; CoreDNS, plugin/kubernetes/reverse.go: a Service's address has the Service's name,
an endpoint's the name of each Service it stands behind.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from k8snetlab.api.core import Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dns.backends import hostname
from k8snetlab.dns.zones import Zones


def address(name: str) -> str:
    """The address that a name of a reverse zone (lower case) is of, "" where it is not a whole one."""
    try:
        if name.endswith(".in-addr.arpa."):
            return str(ipaddress.IPv4Address(".".join(reversed(name.removesuffix(".in-addr.arpa.").split(".")))))
        if name.endswith(".ip6.arpa."):
            return _six(name.removesuffix(".ip6.arpa.").split("."))
    except ValueError:
        pass
    return ""


def _six(nibbles: list[str]) -> str:
    if len(nibbles) != 32 or any(len(nibble) != 1 for nibble in nibbles):
        raise ValueError("not a whole address")
    return str(ipaddress.IPv6Address(int("".join(reversed(nibbles)), 16)))


def names(address: str, zones: Zones, snapshot: Snapshot) -> Iterator[str]:
    """The names of an address, most important first."""
    for service in snapshot.select(Service, cluster_ips, address).values():
        yield f"{service.name}.{service.namespace}.svc.{zones.apex}"
        return
    for slice_ in snapshot.select(EndpointSlice, addresses_of_slice, address).values():
        namespace, service_name = slice_.service_key or ("", "")
        for endpoint in slice_.endpoints:
            if service_name and endpoint.conditions.ready is not False and address in endpoint.addresses:
                yield f"{hostname(endpoint, address, zones)}.{service_name}.{namespace}.svc.{zones.apex}"


def cluster_ips(service: Object) -> tuple[str, ...]:
    """Groups Services by their cluster IPs."""
    assert isinstance(service, Service)
    return service.clusterIPs


def addresses_of_slice(slice_: Object) -> tuple[str, ...]:
    """Groups slices by the addresses of their ready endpoints."""
    assert isinstance(slice_, EndpointSlice)
    ready = (endpoint for endpoint in slice_.endpoints if endpoint.conditions.ready is not False)
    return tuple(dict.fromkeys(address for endpoint in ready for address in endpoint.addresses))
