"""Pods that their node's kubelet does not take: bound to it by name, past the scheduler, where there is no room.

Source: Kubernetes pkg/kubelet/lifecycle/predicate.go (canAdmitPod asks the scheduler's filters again), kubelet.go
(rejectPod). Pods that have an address were taken before; they keep what they have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.selection import pods_by_node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.changes import Answer, Record, active, each, put
from k8snetlab.controllers.correlation import Note
from k8snetlab.controllers.demands import demands
from k8snetlab.controllers.fitting import AFFINITY, PORTS, Room, wanted

REJECTIONS = ("NodePorts", "NodeAffinity")
OUT_OF = "OutOf"
"""What `status.reason` of a rejected pod says, the last one followed by the resource: OutOfpods, OutOfcpu."""


def reconcile(now: Snapshot, before: Snapshot | None) -> Iterator[Answer]:
    names = dict.fromkeys(
        pod.spec.nodeName for key in now.changes(Pod, before) if (pod := now.all(Pod).get(key)) and _comes(pod)
    )
    nodes = [node for name in names if (node := now.get(Node, name))]
    yield from each(nodes, lambda node: _admit(node, now), lambda node: node)


def rejected(pod: Pod) -> bool:
    why = pod.status.reason
    return pod.status.phase == "Failed" and (why in REJECTIONS or (why.startswith(OUT_OF) and why != OUT_OF))


def _comes(pod: Pod) -> bool:
    return bool(pod.spec.nodeName) and not pod.ips and active(pod)


def _admit(node: Node, now: Snapshot) -> Iterable[Answer]:
    pods = now.select(Pod, pods_by_node, node.name).values()
    room = Room(node, (pod for pod in pods if not _comes(pod)))
    for pod in pods:
        if not _comes(pod):
            continue
        reason, message = _why_not(pod, room)
        if not reason:
            room.add(pod)
            continue
        status = replace(pod.status, phase="Failed", reason=reason, message=f"Pod was rejected: {message}")
        yield put(replace(pod, status=status))
        yield Record(Note(pod, "Warning", reason, message, "kubelet", node.name), (Pod, pod.key))


def _why_not(pod: Pod, room: Room) -> tuple[str, str]:
    if room.count >= room.limit:
        used = f"requested: 1, used: {room.count}, capacity: {room.limit}"
        return f"{OUT_OF}pods", f"Node didn't have enough resource: pods, {used}"
    asked = demands(pod.spec)
    for name in room.lacks(asked):
        have = room.allocatable.get(name, 0)
        used = f"requested: {asked[name]}, used: {room.taken[name]}, capacity: {have}"
        return f"{OUT_OF}{name}", f"Node didn't have enough resource: {name}, {used}"
    if not wanted(pod, room.node):
        return "NodeAffinity", f"Predicate NodeAffinity failed: {AFFINITY}"
    if not room.has_ports(pod):
        return "NodePorts", f"Predicate NodePorts failed: {PORTS}"
    return "", ""
