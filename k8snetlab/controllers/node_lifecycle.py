"""Nodes that send no heartbeat any more, and their pods: what their objects then say.

Source: Kubernetes pkg/controller/nodelifecycle (tryUpdateNodeHealth), pkg/controller/util/node (MarkPodsNotReady,
SetPodTerminationReason).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from msgspec.structs import replace

from k8snetlab.api.core import Condition, Node, Pod
from k8snetlab.api.machines import is_machine
from k8snetlab.api.pod_state import UNREACHABLE
from k8snetlab.api.selection import pods_by_node
from k8snetlab.api.snapshot import Snapshot

_NETWORK = "NetworkUnavailable"
_POSTED = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
_NOT_POSTING = "Kubelet stopped posting node status."
_UNKNOWN = "NodeStatusUnknown"
_EXPIRED = "FlannelLeaseExpired"
_IS_UP = "FlannelIsUp"


def health_changes(
    snapshot: Snapshot, silent: Collection[str], unleased: Collection[str], now: str
) -> Iterator[Node | Pod]:
    """The nodes and pods that must change, as they should be: nodes that send no heartbeat (`silent`), their pods, and
    nodes whose subnet lease has expired (`unleased`). `now` is an RFC 3339 timestamp."""
    for node in snapshot.all(Node).values():
        if not is_machine(node):
            continue
        new = silent_node(node, now) if node.name in silent else node
        new = without_lease(new, now) if node.name in unleased else new
        if new != node:
            yield new
        if node.name in silent:
            yield from (dead for pod in _running(node, snapshot) if (dead := unreachable(pod, node.name)) != pod)


def silent_node(node: Node, now: str) -> Node:
    """The node, when its kubelet posts nothing any more: nothing that it has said holds."""
    said = {condition.type for condition in node.status.conditions}
    for type_ in _POSTED:
        if type_ in said or type_ == "Ready":
            unknown = Condition(type=type_, status="Unknown", reason=_UNKNOWN, message=_NOT_POSTING)
            node = with_condition(node, unknown, now)
    return node


def without_lease(node: Node, now: str) -> Node:
    """The node, when its subnet lease has expired: no route leads to its subnet any more."""
    message = "The lease of this node's pod subnet has expired."
    return with_condition(node, Condition(type=_NETWORK, status="True", reason=_EXPIRED, message=message), now)


def leased_again(node: Node) -> Node:
    """The node without what `without_lease` said of it."""
    kept = tuple(c for c in node.status.conditions if (c.type, c.reason) != (_NETWORK, _EXPIRED))
    return node if kept == node.status.conditions else replace(node, status=replace(node.status, conditions=kept))


def network_up(node: Node, now: str) -> Node:
    """The node, when it holds its subnet lease, in flannel's words."""
    message = "Flannel is running on this node"
    return with_condition(node, Condition(type=_NETWORK, status="False", reason=_IS_UP, message=message), now)


def unreachable(pod: Pod, node: str) -> Pod:
    """The pod, when its node sends no heartbeat; its Services go on without it."""
    conditions = tuple(replace(c, status="False") if c.type == "Ready" else c for c in pod.status.conditions)
    message = f"Node {node} which was running pod {pod.name} is unresponsive"
    return replace(pod, status=replace(pod.status, conditions=conditions, reason=UNREACHABLE, message=message))


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
