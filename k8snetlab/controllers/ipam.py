"""Addresses for pods, in the order of the CNI plugin host-local: round robin after the last one given.

Source: containernetworking/plugins plugins/ipam/host-local/backend/allocator. A subnet's network address, its gateway
(.1, on cni0) and, for IPv4, its broadcast address are never given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from k8snetlab.api.addressing import Address, IPNetwork, address, parse_network, split
from k8snetlab.api.core import Node, Pod, PodIP
from k8snetlab.api.reading import LAST_RESERVED
from k8snetlab.api.reserved import Reserved, reserved
from k8snetlab.api.selection import pods_by_node
from k8snetlab.api.snapshot import Change, Snapshot
from k8snetlab.controllers.changes import Answer, active, each, put, record
from k8snetlab.controllers.correlation import Note

SANDBOX, COMPONENT = "FailedCreatePodSandBox", "kubelet"
"""It is kubelet that calls the CNI plugin, and its Event that tells of the failure."""


def without_address(pod: Pod) -> Iterable[str]:
    return (pod.spec.nodeName,) if pod.spec.nodeName and not pod.ips and active(pod) else ()


def reconcile(now: Snapshot, before: Snapshot | None) -> Iterator[Answer]:
    if now.lab.spec.network.calico:
        return
    pods = now.changes(Pod, before)
    renewed = [name for _, name in now.changes(Node, before) if _moved(name, now, before)]

    def work(node: Node) -> Iterator[Answer]:
        waiting = list(now.select(Pod, without_address, node.name).values())
        if node.name in renewed:
            waiting += _misplaced(node, now)
        if waiting:
            yield from _give(node, waiting, now)

    names = dict.fromkeys((*renewed, *_nodes_of(pods, now, before)))
    yield from each([node for name in names if (node := now.get(Node, name))], work, lambda node: node)


def _moved(name: str, now: Snapshot, before: Snapshot | None) -> bool:
    """Whether a node came, or its own address, its pods' subnets or what is reserved there became others."""
    new, old = now.get(Node, name), before.get(Node, name) if before else None
    return new is not None and (old is None or _pool(new) != _pool(old))


def _pool(node: Node) -> tuple[object, ...]:
    return node.podCIDRs, node.addresses, reserved(node)


def _nodes_of(keys: Iterable[tuple[str, str]], now: Snapshot, before: Snapshot | None) -> Iterator[str]:
    """Nodes with a changed pod: one that needs an address, or one that left its own to others."""
    for key in keys:
        for snapshot in (now, before):
            pod = snapshot.all(Pod).get(key) if snapshot else None
            if pod and pod.spec.nodeName:
                yield pod.spec.nodeName


def _misplaced(node: Node, now: Snapshot) -> list[Pod]:
    """Pods whose addresses are none of their node's any more."""
    subnets = [parse_network(cidr) for cidr in node.podCIDRs]
    return [
        pod
        for pod in now.select(Pod, pods_by_node, node.name).values()
        if pod.ips
        and active(pod)
        and (
            pod.ips != node.addresses
            if pod.spec.hostNetwork
            else not all(any(_gives(subnet, address(ip)) for subnet in subnets) for ip in pod.ips)
        )
    ]


def _give(node: Node, waiting: list[Pod], now: Snapshot) -> Iterator[Answer]:
    subnets = [parse_network(cidr) for cidr in node.podCIDRs]
    moving = {pod.key for pod in waiting}
    used = {ip for pod in now.select(Pod, pods_by_node, node.name).values() if pod.key not in moving for ip in pod.ips}
    last, leaked = {subnet: _last(node, subnet) for subnet in subnets}, reserved(node)
    message = "" if subnets else f"{node.name} has no pod subnet"
    for pod in waiting:
        if pod.spec.hostNetwork:
            yield from addressed(pod, node.addresses, node)
            continue
        given = {} if message else {subnet: _next(subnet, last[subnet], used, leaked) for subnet in subnets}
        if None in given.values():
            full = ", ".join(str(subnet) for subnet, offset in given.items() if offset is None)
            message = f"no free address in {full}"
        if message:
            yield from refused(pod, message)
            continue
        last = {subnet: offset for subnet, offset in given.items() if offset is not None}
        ips = tuple(str(subnet[offset]) for subnet, offset in last.items())
        used.update(ips)
        yield from addressed(pod, ips, node)
    latest = ",".join(str(subnet[offset]) for subnet, offset in last.items() if offset)
    if latest and latest != node.metadata.annotations.get(LAST_RESERVED):
        annotations = {**node.metadata.annotations, LAST_RESERVED: latest}
        yield put(replace(node, metadata=replace(node.metadata, annotations=annotations)))


def refused(pod: Pod, message: str) -> Iterator[Answer]:
    """It has no address, and why; said once. One of before, which is none of its node's any more, is taken away."""
    if pod.ips or pod.status.message != message:
        yield put(replace(pod, status=replace(pod.status, podIP="", podIPs=(), message=message)))
        said = f"Failed to create pod sandbox: {message}"
        yield record(pod, Note(pod, "Warning", SANDBOX, said, COMPONENT))


def addressed(pod: Pod, ips: tuple[str, ...], node: Node) -> Iterator[Change]:
    if not ips:
        return
    status = replace(
        pod.status,
        podIP=ips[0],
        podIPs=tuple(PodIP(ip=ip) for ip in ips),
        hostIP=node.addresses[0] if node.addresses else "",
        message="",
    )
    yield put(replace(pod, status=status))


def _last(node: Node, subnet: IPNetwork) -> int:
    """The offset in a subnet of the last address given there, 0 for none."""
    for text in split(node.metadata.annotations.get(LAST_RESERVED, "")):
        try:
            ip = address(text)
        except ValueError:
            continue
        if ip in subnet:
            return int(ip) - int(subnet.network_address)
    return 0


def _ends(subnet: IPNetwork) -> tuple[int, int]:
    """The offsets between which addresses are given, the second one excluded."""
    return 2, subnet.num_addresses - (1 if subnet.version == 4 else 0)


def _gives(subnet: IPNetwork, ip: Address) -> bool:
    """Whether a pod may have an address of the subnet: Calico gives the first one too, which is flannel.1's."""
    first, end = _ends(subnet)
    return ip in subnet and first <= int(ip) - int(subnet.network_address) < end


def _next(subnet: IPNetwork, last: int, used: set[str], leaked: Reserved) -> int | None:
    """The offset of the next free address; at most as many are in the way as are used or leaked."""
    first, end = _ends(subnet)
    offset = last
    for _ in range(min(end - first, len(used) + 2 * len(leaked.ranges) + 1)):
        offset = offset + 1 if first <= offset + 1 < end else first
        if (until := leaked.until(subnet[offset])) is not None:
            offset = int(until) - int(subnet.network_address)
        elif str(subnet[offset]) not in used:
            return offset
    return None
