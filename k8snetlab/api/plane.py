"""The nodes that a lab's own control plane stands on, and where its parts are reached."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from k8snetlab.api.addressing import IPNetwork, split
from k8snetlab.api.lab import Lab, LabNode, LabSpec, StoreSpec

ROLE = "node-role.kubernetes.io/control-plane"
"""Label and taint of such a node, as kubeadm has it."""
NAME = "control-plane"
API, CLIENTS, PEERS, HEALTH = 6443, 2379, 2380, 2381
FIRST = 11
"""Of the underlay's addresses the first node's, where it has so many: others may come and go without moving it."""
FILES = "plane"
"""In the lab's directory: what the members of the control plane keep."""


class Seat(NamedTuple):
    """A node of the control plane: which one, its name and its address."""

    number: int
    node: str
    address: str


def names(spec: LabSpec) -> tuple[str, ...]:
    """Of its nodes."""
    plane = spec.controlPlane
    return tuple(f"{NAME}{number}" for number in range(1, max(plane.replicas, plane.etcd) + 1))


def with_plane(spec: LabSpec, nodes: Iterable[LabNode], cidrs: Sequence[IPNetwork]) -> tuple[LabNode, ...]:
    """The nodes, and those of the control plane, each with its label and an address."""
    nodes, wanted = tuple(nodes), names(spec)
    new = tuple(LabNode(name=name) for name in wanted if all(node.name != name for node in nodes))
    numbers = {name: number for number, name in enumerate(wanted)}
    return tuple(_of_plane(node, numbers[node.name], cidrs) if node.name in numbers else node for node in nodes + new)


def _of_plane(node: LabNode, number: int, cidrs: Sequence[IPNetwork]) -> LabNode:
    return replace(node, labels={**node.labels, ROLE: ""}, address=node.address or _address(number, cidrs))


def _address(number: int, cidrs: Sequence[IPNetwork]) -> str:
    """ "" where there is none for it."""
    if any(cidr.num_addresses <= 0x20 for cidr in cidrs):
        return ""
    digits = str(FIRST + number)
    return ",".join(str(cidr[int(digits, 10 if cidr.version == 4 else 16)]) for cidr in cidrs)


def seats(lab: Lab) -> tuple[Seat, ...]:
    """Of a lab with its defaults."""
    nodes = () if isinstance(lab.spec.nodes, int) else lab.spec.nodes
    addresses = {node.name: next((one for one in split(node.address) if ":" not in one), "") for node in nodes}
    return tuple(Seat(number, name, addresses.get(name, "")) for number, name in enumerate(names(lab.spec), 1))


def members(lab: Lab) -> tuple[Seat, ...]:
    """Those with a member of etcd."""
    return seats(lab)[: lab.spec.controlPlane.etcd]


def servers(lab: Lab) -> tuple[Seat, ...]:
    """Those with an API server."""
    return seats(lab)[: lab.spec.controlPlane.replicas]


def store(lab: Lab, directory: str) -> StoreSpec | None:
    """The etcd of the lab's own, None where it has none; `directory` is the lab's."""
    if not lab.spec.controlPlane.etcd:
        return None
    endpoints = tuple(f"https://{seat.address}:{CLIENTS}" for seat in members(lab))
    ca, cert, key = (f"{directory}/{FILES}/pki/{name}" for name in ("ca.crt", "client.crt", "client.key"))
    return StoreSpec("etcd", endpoints, ca, cert, key)
