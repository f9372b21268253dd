"""The names and addresses of a zone's own servers.

Source: CoreDNS, plugin/kubernetes/ns.go: the Services behind which the answering server stands, else ns.dns.ZONE with
the server's own addresses.
"""

from __future__ import annotations

from k8snetlab.api.core import Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dns.backends import Backend, hostname
from k8snetlab.dns.reverse import addresses_of_slice
from k8snetlab.dns.zones import Zones


def backends(zone: str, zones: Zones, snapshot: Snapshot) -> list[Backend]:
    found: list[Backend] = []
    behind = False
    for local in zones.local:
        for slice_ in snapshot.select(EndpointSlice, addresses_of_slice, local).values():
            behind = True
            found += _of(slice_, zone, zones, snapshot)
    if behind:
        return list(dict.fromkeys(found))
    return [Backend(f"ns.dns.{zone}", local) for local in zones.local]


def _of(slice_: EndpointSlice, zone: str, zones: Zones, snapshot: Snapshot) -> list[Backend]:
    namespace, name = slice_.service_key or ("", "")
    service = snapshot.get(Service, name, namespace)
    if service is None:
        return []
    called = f"{name}.{namespace}.svc.{zone}"
    if service.spec.clusterIP != "None":
        return [Backend(called, address) for address in service.clusterIPs]
    return [
        Backend(f"{hostname(endpoint, address, zones)}.{called}", address)
        for endpoint in slice_.endpoints
        if endpoint.conditions.ready is not False
        for address in endpoint.addresses
    ]
