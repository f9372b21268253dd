"""Which nodes may announce the address of a load balancer, in the order in which they are asked to.

Source: MetalLB speaker/layer2_controller.go (ShouldAnnounce, sortL2Candidates).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from k8snetlab.api.core import Node, Service
from k8snetlab.api.discovery import Endpoint, EndpointSlice
from k8snetlab.api.load_balancer import EXCLUDED
from k8snetlab.api.selection import balanced, slices_by_service
from k8snetlab.api.snapshot import Snapshot


def order(address: str, nodes: Iterable[str]) -> tuple[str, ...]:
    """The nodes by a hash of theirs with the address: all speakers come to the same, and addresses spread."""
    return tuple(sorted(nodes, key=lambda node: hashlib.sha256(f"{node}#{address}".encode()).digest()))


def announced(snapshot: Snapshot) -> Mapping[str, tuple[str, ...]]:
    """By address of a load balancer of the lab's: its candidates, in order; none where nobody may announce it."""
    found: dict[str, set[str]] = {}
    first: dict[str, str] = {}
    for service in snapshot.select(Service, balanced, True).values():
        addresses = [one.ip for one in service.status.loadBalancer.ingress if one.ip]
        for address in addresses:
            found.setdefault(address, set()).update(candidates(service, snapshot))
            first.setdefault(address, addresses[0])
    return {address: order(first[address], nodes) for address, nodes in found.items()}


def candidates(service: Service, snapshot: Snapshot) -> tuple[str, ...]:
    """Nodes that are not kept out; with externalTrafficPolicy Local those that have an endpoint. None while there is no
    endpoint at all."""
    nodes = [node.name for node in snapshot.all(Node).values() if EXCLUDED not in node.metadata.labels]
    serving = [one for one in _endpoints(service, snapshot) if _serves(one)]
    if not serving:
        return ()
    if service.spec.externalTrafficPolicy == "Local":
        here = {one.nodeName for one in serving}
        nodes = [node for node in nodes if node in here]
    return tuple(nodes)


def lacking(service: Service, snapshot: Snapshot) -> str:
    """Why nobody may announce the Service's address, "" where somebody may."""
    if candidates(service, snapshot):
        return ""
    if not served(service, snapshot):
        return "no node announces it: the Service has no ready endpoint"
    if all(EXCLUDED in node.metadata.labels for node in snapshot.all(Node).values()):
        return f"no node announces it: every node has the label {EXCLUDED}"
    return "no node announces it: externalTrafficPolicy is Local, and no node that may has a ready endpoint"


def served(service: Service, snapshot: Snapshot) -> bool:
    """Whether it has an endpoint that serves, wherever."""
    return any(_serves(one) for one in _endpoints(service, snapshot))


def _endpoints(service: Service, snapshot: Snapshot) -> Iterator[Endpoint]:
    for slice_ in snapshot.select(EndpointSlice, slices_by_service, service.key).values():
        yield from slice_.endpoints


def _serves(endpoint: Endpoint) -> bool:
    """Source: MetalLB internal/k8s/epslices (EndpointCanServe)."""
    conditions = endpoint.conditions
    serving = conditions.ready if conditions.serving is None else conditions.serving
    return serving is not False
