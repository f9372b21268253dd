"""The IPAddress of each cluster IP: made of its Service wherever objects are read, and never stored.

A real server writes both and repairs what differs. Here the two cannot differ: an IPAddress comes, changes and goes in
the same revision as its Service, and costs no write.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from k8snetlab.api.core import Service
from k8snetlab.api.meta import Object, ObjectMeta
from k8snetlab.api.networking import ALLOCATOR, IP_FAMILY, MANAGED_BY, IPAddress, IPAddressSpec, ParentReference
from k8snetlab.api.snapshot import Change, Key, Snapshot

_LABELS = {family: {IP_FAMILY: family, MANAGED_BY: ALLOCATOR} for family in ("IPv4", "IPv6")}


def following(changes: Iterable[Change], snapshot: Snapshot) -> Iterator[Change]:
    """What changes of IPAddresses when these changes come to `snapshot`, in order."""
    services: dict[Key, Service | None] = {}
    owners: dict[str, Key] = {}
    for type_, key, obj in changes:
        if type_ is not Service:
            continue
        before = services[key] if key in services else snapshot.all(Service).get(key)
        after = obj if isinstance(obj, Service) else None
        services[key] = after
        had, has = _ips(before), _ips(after)
        another = before is not None and after is not None and before.metadata.uid != after.metadata.uid
        for ip in had:
            if (ip not in has or another) and owners.get(ip, key) == key:
                yield IPAddress, ("", ip), None
        if after is not None:
            for ip in has:
                owners[ip] = key
                if ip not in had or another:
                    yield IPAddress, ("", ip), made(after, ip)


def _ips(service: Service | None) -> tuple[str, ...]:
    return service.clusterIPs if service is not None else ()


def made(service: Service, ip: str) -> IPAddress:
    metadata = service.metadata
    return IPAddress(
        metadata=ObjectMeta(
            name=ip,
            uid=f"{metadata.uid[:28]}{zlib.crc32(ip.encode()):08x}",
            labels=_LABELS["IPv6" if ":" in ip else "IPv4"],
            creationTimestamp=metadata.creationTimestamp,
            resourceVersion=metadata.resourceVersion,
        ),
        spec=IPAddressSpec(
            parentRef=ParentReference(resource="services", namespace=service.namespace, name=service.name)
        ),
    )


def is_made(obj: Object) -> bool:
    """Whether nobody has stored it."""
    return isinstance(obj, IPAddress) and obj.allocated


def without_made(objects: Iterable[Object]) -> list[Object]:
    return [obj for obj in objects if not is_made(obj)]
