"""What a name of a cluster's zone leads to: cluster IPs, endpoints, other names.

Source: Kubernetes' DNS specification 1.1; CoreDNS, plugin/kubernetes (findServices, findPods, endpointHostname).
"""

from __future__ import annotations

import ipaddress

import msgspec

from k8snetlab.api.core import Namespace, Pod, Service
from k8snetlab.api.discovery import Endpoint, EndpointSlice, EndpointSlicePort
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import is_address
from k8snetlab.dns.parsed import Parts
from k8snetlab.dns.zones import Zones

LABEL = 63


class Backend(msgspec.Struct, frozen=True):
    """`owner` is the name whose address `address` is; or `target` is another name, and there is no address. A `port` of
    None is none."""

    owner: str
    address: str = ""
    port: int | None = None
    target: str = ""

    @property
    def type(self) -> str:
        return "CNAME" if not self.address else "AAAA" if ":" in self.address else "A"


def backends(parts: Parts, zone: str, zones: Zones, snapshot: Snapshot) -> list[Backend] | None:
    """All that the name leads to: an empty list for a name that has nothing of its own, None for no such name."""
    if not parts.namespace:
        return []
    if snapshot.get(Namespace, parts.namespace) is None:
        return None
    if parts.under == "pod":
        return _pods(parts, zone, zones, snapshot)
    if not parts.name:
        return []
    service = snapshot.get(Service, parts.name, parts.namespace)
    return None if service is None else _service(service, parts, zone, zones, snapshot)


def _pods(parts: Parts, zone: str, zones: Zones, snapshot: Snapshot) -> list[Backend] | None:
    if zones.pods == "disabled":
        return None
    if not parts.name:
        return []
    text = _spelled(parts.name)
    try:
        address = "" if "%" in text else str(ipaddress.ip_address(text))
    except ValueError:
        address = ""
    if not address:
        return None
    if zones.pods == "verified" and not any(
        pod.namespace == parts.namespace and pod.metadata.deletionTimestamp is None
        for pod in snapshot.select(Pod, address_of_pod, text).values()
    ):
        return None
    return [Backend(f"{parts.name}.{parts.namespace}.pod.{zone}", address)]


def _spelled(label: str) -> str:
    """1-2-3-4 is 1.2.3.4, 2001-db8--1 is 2001:db8::1."""
    four = label.count("-") == 3 and "--" not in label
    return label.replace("-", "." if four else ":")


def _service(service: Service, parts: Parts, zone: str, zones: Zones, snapshot: Snapshot) -> list[Backend] | None:
    name = f"{service.name}.{service.namespace}.svc.{zone}"
    if service.spec.type == "ExternalName":
        return _external(service, parts, name)
    if service.spec.clusterIP == "None" or parts.endpoint:
        return _endpoints(service, parts, name, zones, snapshot) or None
    ports: list[tuple[int | None, str, str]] = [(p.port, p.name, p.protocol) for p in service.spec.ports]
    asked = [port for port, called, protocol in ports or [(None, "", "")] if _meant(parts, called, protocol)]
    return [Backend(name, address, port) for port in asked for address in service.clusterIPs] if asked else None


def _external(service: Service, parts: Parts, name: str) -> list[Backend] | None:
    if parts.endpoint or parts.port or parts.protocol or is_address(service.spec.externalName):
        return None
    return [Backend(name, target=f"{service.spec.externalName.rstrip('.')}.")]


def _meant(parts: Parts, port: str, protocol: str) -> bool:
    """Whether the question is about the port of that name and protocol; it may leave either out."""
    return parts.port in ("", port.lower()) and parts.protocol in ("", protocol.lower())


def _endpoints(service: Service, parts: Parts, name: str, zones: Zones, snapshot: Snapshot) -> list[Backend]:
    found = []
    for slice_ in snapshot.select(EndpointSlice, service_of, service.key).values():
        ports = [p for p in slice_.ports or (EndpointSlicePort(),) if _meant(parts, p.name, p.protocol)]
        for endpoint in slice_.endpoints:
            if endpoint.conditions.ready is False:
                continue
            for address in endpoint.addresses:
                called = hostname(endpoint, address, zones)
                if parts.endpoint in ("", called.lower()):
                    found += [Backend(f"{called}.{name}", address, port.port) for port in ports]
    return found


def hostname(endpoint: Endpoint, address: str, zones: Zones) -> str:
    """The first label of an endpoint's name."""
    if endpoint.hostname:
        return endpoint.hostname
    pod = endpoint.targetRef.name if endpoint.targetRef else ""
    if zones.endpoint_pod_names and pod and len(pod) <= LABEL:
        return pod
    label = address.replace(".", "-").replace(":", "-")
    return f"{label}0" if label.endswith("-") else label


def service_of(slice_: Object) -> tuple[tuple[str, str], ...]:
    """Groups slices by the (namespace, name) of their Service."""
    assert isinstance(slice_, EndpointSlice)
    return (slice_.service_key,) if slice_.service_key else ()


def address_of_pod(pod: Object) -> tuple[str, ...]:
    """Groups pods by their first address, the only one that CoreDNS knows, ended ones not."""
    assert isinstance(pod, Pod)
    return () if pod.ended else pod.ips[:1]
