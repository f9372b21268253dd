"""What Services' pods are as endpoints, kept from one look at a Service to the next.

A Service of a thousand pods is looked at whenever one of them changes, and again when its slices are stored: what the
others are as endpoints is the same as before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_address

from msgspec import Struct

from k8snetlab.api.core import EndpointAddress, EndpointPort, IPFamily, Pod, Service
from k8snetlab.api.discovery import Endpoint, EndpointSlicePort
from k8snetlab.api.snapshot import Key

Ports = tuple[EndpointSlicePort, ...]


class Member(Struct, frozen=True):
    """A pod as an endpoint of one Service, on a node in `zone`: in EndpointSlices, by family, and in the Endpoints
    object, where it has the `order` of its address (None: it is not in that)."""

    pod: Pod
    zone: str | None
    ports: Ports
    endpoints: dict[IPFamily, Endpoint]
    address: EndpointAddress | None = None
    address_ports: tuple[EndpointPort, ...] = ()
    order: bytes = b""
    ready: bool = False


class EndpointMemory:
    """Members by Service and pod. Each is good for the very objects that it was made from."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[Service, dict[Key, Member]]] = {}
        self.made = 0
        """How many times a pod was worked out as an endpoint."""

    def members(
        self,
        service: Service,
        pods: Iterable[Pod],
        zone_of: Callable[[Pod], str | None],
        make: Callable[[Service, Pod, str | None], Member],
    ) -> list[Member]:
        """The pods, in order."""
        before, known = self._known.get(service.key, (service, {}))
        if before is not service:
            known = {}
        members: dict[Key, Member] = {}
        for pod in pods:
            member, zone = known.get(pod.key), zone_of(pod)
            if member is None or member.pod is not pod or member.zone != zone:
                member = make(service, pod, zone)
                self.made += 1
            members[pod.key] = member
        self._known[service.key] = service, members
        return [*members.values()]

    def forget(self, service: Key) -> None:
        self._known.pop(service, None)


def order(ip: str) -> bytes:
    return ip_address(ip).packed
