"""Cluster IPs and node ports for Services that do not name theirs.

Source: Kubernetes pkg/registry/core/service/ipallocator and portallocator: a range's lower part is left to those who
choose for themselves as long as the upper part has room (KEP-3070, KEP-3668). Where Kubernetes begins at random, the
Service's name decides here, so that it gets the same address in every lab.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from k8snetlab.api.addressing import IPNetwork
from k8snetlab.api.core import KUBERNETES, NODE_PORTS, Protocol, Service
from k8snetlab.api.networking import IPAddress
from k8snetlab.api.selection import services_by_ip, services_by_node_port
from k8snetlab.api.snapshot import Snapshot

_PROTOCOLS: tuple[Protocol, ...] = ("TCP", "UDP", "SCTP")


def cluster_ip(service: Service, network: IPNetwork, snapshot: Snapshot) -> str | None:
    """A free address of a service network; None when it is full."""
    if service.key == KUBERNETES:
        return str(network[1])
    end = network.num_addresses - (1 if network.version == 4 else 0)
    static = min(max(16, network.num_addresses // 16), 256)
    for offset in _probe(_seed(service, str(network)), 2, min(static + 1, end), end):
        ip = str(network[offset])
        if not snapshot.select(Service, services_by_ip, ip) and not snapshot.get(IPAddress, ip):
            return ip
    return None


def node_port(service: Service, port: str, taken: set[int], snapshot: Snapshot) -> int | None:
    """A free node port; None when all are taken.

    `port` tells a Service's ports apart, `taken` are the node ports that its other ports have.
    """
    static = min(max(16, len(NODE_PORTS) // 32), 128)
    first = NODE_PORTS.start
    for number in _probe(_seed(service, port), first, first + static, NODE_PORTS.stop):
        if number not in taken and not any(
            snapshot.select(Service, services_by_node_port, (protocol, number)) for protocol in _PROTOCOLS
        ):
            return number
    return None


def _probe(seed: int, first: int, middle: int, end: int) -> Iterator[int]:
    """Every number of [middle, end) from a seeded start on, then every one of [first, middle)."""
    for low, high in ((middle, end), (first, middle)):
        size = high - low
        for step in range(size):
            yield low + (seed + step) % size


def _seed(service: Service, what: str) -> int:
    text = f"{service.namespace}/{service.name}/{what}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
