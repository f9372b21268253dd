"""Nodes that nobody hears of any more, and their pods: what their objects then say.

Source: Kubernetes pkg/controller/nodelifecycle (tryUpdateNodeHealth), pkg/controller/util/node (MarkPodsNotReady,
SetPodTerminationReason), and the toleration of 300 s that every pod has by default.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime

from msgspec.structs import replace

from k8snetlab.api.core import Condition, Node, Pod
from k8snetlab.api.machines import is_machine
from k8snetlab.api.selection import pods_by_node
from k8snetlab.api.snapshot import Snapshot

NODE_LOST = "NodeLost"
TOLERATION = 300
"""Seconds that pods stay bound to a node nobody hears of: then they are deleted, for others to take their place."""
_NETWORK = "NetworkUnavailable"
_NOT_POSTING = "Kubelet stopped posting node status."
_UNKNOWN = "NodeStatusUnknown"
_EXPIRED = "FlannelLeaseExpired"
_IS_UP = "FlannelIsUp"


def lost(snapshot: Snapshot, silent: Collection[str], unleased: Collection[str], now: str) -> Iterator[Node | Pod]:
    """Objects as they ought to be that are not so: of nodes that send no heartbeat (`silent`) and of their pods, and of
    nodes whose subnet lease has expired (`unleased`). `now` is an RFC 3339 timestamp."""
    for node in snapshot.all(Node).values():
        if not is_machine(node):
            continue
        new = silenced(node, now) if node.name in silent else node
        new = expired(new, now) if node.name in unleased else new
        if new != node:
            yield new
        if node.name in silent:
            yield from (dead for pod in _running(node, snapshot) if (dead := pod_lost(pod, node.name)) != pod)


def abandoned(snapshot: Snapshot, silent: Collection[str], now: str) -> Iterator[Pod]:
    """Pods that have been bound to a silent node for longer than they tolerate it."""
    for node in snapshot.all(Node).values():
        ready = _condition(node, "Ready")
        if node.name not in silent or ready is None or ready.status != "Unknown" or not ready.lastTransitionTime:
            continue
        if _seconds(now) - _seconds(ready.lastTransitionTime) >= TOLERATION:
            yield from (pod for pod in _running(node, snapshot) if not pod.metadata.deletionTimestamp)


def silenced(node: Node, now: str) -> Node:
    """A node whose kubelet posts nothing any more."""
    return with_condition(node, Condition(type="Ready", status="Unknown", reason=_UNKNOWN, message=_NOT_POSTING), now)


def expired(node: Node, now: str) -> Node:
    """A node whose subnet lease has expired: nothing leads to its subnet any more."""
    message = "The lease of this node's pod subnet has expired."
    return with_condition(node, Condition(type=_NETWORK, status="True", reason=_EXPIRED, message=message), now)


def network_up(node: Node, now: str) -> Node:
    """A node that holds its subnet lease, in flannel's words."""
    message = "Flannel is running on this node"
    return with_condition(node, Condition(type=_NETWORK, status="False", reason=_IS_UP, message=message), now)


def pod_lost(pod: Pod, node: str) -> Pod:
    """A pod on a node that nobody hears of; its Services go on without it."""
    conditions = tuple(replace(c, status="False") if c.type == "Ready" else c for c in pod.status.conditions)
    message = f"Node {node} which was running pod {pod.name} is unresponsive"
    return replace(pod, status=replace(pod.status, conditions=conditions, reason=NODE_LOST, message=message))


def with_condition(node: Node, condition: Condition, now: str) -> Node:
    """The node with a condition in the place of an older one of its type; the time is that of its status' change."""
    old = _condition(node, condition.type)
    since = old.lastTransitionTime if old and old.status == condition.status else now
    condition = replace(condition, lastTransitionTime=since)
    if condition == old:
        return node
    others = tuple(c for c in node.status.conditions if c.type != condition.type)
    return replace(node, status=replace(node.status, conditions=(*others, condition)))


def _condition(node: Node, type_: str) -> Condition | None:
    return next((c for c in node.status.conditions if c.type == type_), None)


def _running(node: Node, snapshot: Snapshot) -> Iterator[Pod]:
    for pod in snapshot.select(Pod, pods_by_node, node.name).values():
        if not pod.ended:
            yield pod


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
