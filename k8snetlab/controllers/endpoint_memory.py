"""What Services' pods are as endpoints, kept from one look at a Service to the next.

A Service of a thousand pods is looked at whenever one of them changes, and again when its slices are stored: what the
others are as endpoints is the same as before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address

from msgspec import Struct
from msgspec.structs import replace

from k8snetlab.api.core import EndpointAddress, EndpointPort, Endpoints, IPFamily, Pod, Service
from k8snetlab.api.discovery import Endpoint, EndpointSlice, EndpointSlicePort
from k8snetlab.api.selection import selects
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


class _Looked(Struct, frozen=True):
    """The last look at a Service: `near` are the pods that it might have selected, `members` those that it did, by
    name; `zones` the nodes'."""

    service: Service
    near: Mapping[Key, Pod] = {}
    zones: Mapping[str, str | None] = {}
    members: Mapping[Key, Member] = {}
    made: Mapping[Key, EndpointSlice | Endpoints] | None = None
    """What its slices and its Endpoints were to be, by type's name and name; None where that is not known."""


class EndpointMemory:
    """Members by Service and pod. Each is good for the very objects that it was made from."""

    def __init__(self) -> None:
        self._known: dict[Key, _Looked] = {}
        self.made = 0
        """How many times a pod was worked out as an endpoint."""
        self.looks = 0
        """How many times all endpoints of a Service were gone through."""

    def members(
        self,
        service: Service,
        near: Mapping[Key, Pod],
        zones: Mapping[str, str | None],
        make: Callable[[Service, Pod, str | None], Member],
    ) -> list[Member]:
        """Of the `near` pods those that the Service selects, by name."""
        known = self._known.get(service.key)
        if known is None or known.service is not service:
            known = _Looked(service)
        before, members = known.near, dict(known.members)
        for key in before.keys() - near.keys():
            members.pop(key, None)
        changed = [pod for key, pod in near.items() if before.get(key) is not pod]
        if zones != known.zones:
            changed += [pod for pod in near.values() if _moved(pod, zones, known.zones)]
        more = False
        for pod in changed:
            key = pod.key
            if not selects(service, pod.metadata.labels):
                members.pop(key, None)
                continue
            more = more or key not in members
            members[key] = make(service, pod, zones.get(pod.spec.nodeName))
            self.made += 1
        if more:
            members = dict(sorted(members.items(), key=lambda one: one[1].pod.name))
        self._known[service.key] = _Looked(service, near, zones, members)
        self.looks += 1
        return [*members.values()]

    def is_done(
        self,
        service: Service,
        near: Mapping[Key, Pod],
        zones: Mapping[str, str | None],
        stored: Mapping[Key, EndpointSlice | Endpoints],
    ) -> bool:
        """Whether the last look was at these very things, and what it made of them is `stored` by now."""
        known = self._known.get(service.key)
        return (
            known is not None
            and known.made is not None
            and known.service is service
            and known.near is near
            and known.zones == zones
            and known.made.keys() == stored.keys()
            and all(_says(one) == _says(stored[key]) for key, one in known.made.items())
        )

    def done(self, service: Key, made: Mapping[Key, EndpointSlice | Endpoints]) -> None:
        """What the last look at a Service made of it."""
        self._known[service] = replace(self._known[service], made=made)

    def forget(self, service: Key) -> None:
        self._known.pop(service, None)


def _says(one: EndpointSlice | Endpoints) -> object:
    about = one.metadata.labels, one.metadata.ownerReferences, one.metadata.deletionTimestamp
    if isinstance(one, Endpoints):
        return about, one.subsets
    return about, one.addressType, one.ports, one.endpoints


def _moved(pod: Pod, zones: Mapping[str, str | None], before: Mapping[str, str | None]) -> bool:
    return zones.get(pod.spec.nodeName) != before.get(pod.spec.nodeName)


def order(ip: str) -> bytes:
    return ip_address(ip).packed
