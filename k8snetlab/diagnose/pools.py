"""What nodes have lost of addresses: those of their pools that pods left behind, and the leases of their subnets."""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.addressing import IPNetwork, address, parse_network
from k8snetlab.api.core import Node, Pod
from k8snetlab.api.reserved import RESERVED, free, reserved
from k8snetlab.api.selection import pods_by_node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import parted, pick
from k8snetlab.diagnose.finding import Finding
from k8snetlab.diagnose.paths import Broken


def leaked(snapshot: Snapshot) -> Iterator[Finding]:
    """Pools of which a part is reserved for pods that are no more."""
    for node in snapshot.all(Node).values():
        subnet, kept = pick(node.podCIDRs, "ipv4"), reserved(node)
        if not subnet or not kept.ranges:
            continue
        pods = snapshot.select(Pod, pods_by_node, node.name).values()
        left = free(subnet, [ip for pod in pods for ip in pod.ips if "." in ip], kept)
        yield Finding(
            kind="pool",
            fault="leaked",
            node=node.name,
            object=subnet,
            message=f"{node.name}: {kept.size} addresses of its pool {subnet} are reserved for pods that are no more "
            f"({kept}), and {left} {'is' if left == 1 else 'are'} free",
            consequence="a new pod of this node gets no address: it stays ContainerCreating"
            if not left
            else "the pool is full the sooner",
            show=f"k8snetlab get node {node.name} -o yaml",
            mend=f"kubectl annotate node {node.name} {RESERVED}-",
        )


def unleased(snapshot: Snapshot) -> Iterator[Finding]:
    """Nodes whose subnet's lease has ended."""
    yield from (_lost(node) for node in snapshot.all(Node).values() if not node.network_available)


def without_lease(snapshot: Snapshot, broken: Broken) -> Finding | None:
    """The lease that a path which nothing else explains lacks: no node leads to such a subnet."""
    lost = [node for node in snapshot.all(Node).values() if not node.network_available]
    asked = [broken.path.flow.dst, parted(broken.way.endpoint)[0], *(hop.packet.dst for hop in broken.way.hops)]
    ends = {address(text) for text in asked if text}
    return next((_lost(node) for node in lost if any(one in net for net in _subnets(node) for one in ends)), None)


def _subnets(node: Node) -> list[IPNetwork]:
    return [parse_network(cidr) for cidr in node.podCIDRs]


def _lost(node: Node) -> Finding:
    subnet = ", ".join(node.podCIDRs)
    return Finding(
        kind="lease",
        fault="lost",
        node=node.name,
        object=subnet,
        message=f"{node.name}: the lease of its pod subnet {subnet} has ended, and nobody has taken it again",
        consequence=f"the other nodes have taken away their routes and entries for {node.name}'s pods",
        show=f"k8snetlab get subnet {node.name}",
    )
