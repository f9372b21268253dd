"""What follows from a node's Ready: the taints that drive its pods away, and that these are not ready any more.

Who finds a node silent are `running.heartbeats` and, in a lab of machines, `machines.leases`.
Source: Kubernetes pkg/controller/nodelifecycle (processTaintBaseEviction, doNoScheduleTaintingPass) and
pkg/controller/util/node (MarkPodsNotReady, SwapNodeControllerTaint).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from msgspec.structs import replace

from k8snetlab.api.core import Condition, Node, Pod, Taint
from k8snetlab.api.machines import is_machine
from k8snetlab.api.selection import pods_by_node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.changes import Answer, Context, each, put, record
from k8snetlab.controllers.correlation import Note

COMPONENT = "node-controller"
UNREACHABLE, NOT_READY = "node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"
_OF_STATUS = {"Unknown": UNREACHABLE, "False": NOT_READY}
"""By the status of a node's Ready, the key of the taints that it has for it."""


def reconcile(now: Snapshot, before: Snapshot | None, context: Context) -> Iterator[Answer]:
    changed = (now.all(Pod).get(key) for key in now.changes(Pod, before))
    names = {*(name for _, name in now.changes(Node, before)), *(pod.spec.nodeName for pod in changed if pod)}
    nodes = [node for name in sorted(names) if (node := now.get(Node, name)) is not None]
    for node in nodes:
        if _is_new(node, before):
            text = f"Node {node.name} event: Registered Node {node.name} in Controller"
            yield record(node, Note(node, "Normal", "RegisteredNode", text, COMPONENT))
    yield from each(nodes, lambda node: _followed(node, now, context), lambda node: node)


def _followed(node: Node, now: Snapshot, context: Context) -> Iterator[Answer]:
    new, silent = _tainted(node, context), _ready(node) == "Unknown"
    if new is not node:
        yield put(new)
        if silent:
            text = f"Node {node.name} status is now: NodeNotReady"
            yield record(new, Note(new, "Normal", "NodeNotReady", text, COMPONENT))
    if silent and not is_machine(node):
        for pod in now.select(Pod, pods_by_node, node.name).values():
            if pod.ready and not pod.ended:
                yield put(_unready(pod, _stamp(context)))
                yield record(pod, Note(pod, "Warning", "NodeNotReady", "Node is not ready", COMPONENT))


def _is_new(node: Node, before: Snapshot | None) -> bool:
    old = before.get(Node, node.name) if before else None
    return not _ready(node) if before is None else old is None or old.metadata.uid != node.metadata.uid


def _tainted(node: Node, context: Context) -> Node:
    """The node with the taints that follow from its Ready, and without those that do not; who does not say whether it
    is ready has what it has."""
    if not (status := _ready(node)):
        return node
    wanted = _OF_STATUS.get(status)
    kept = tuple(one for one in node.spec.taints if one.key not in (UNREACHABLE, NOT_READY) or one.key == wanted)
    had = {one.effect for one in kept if one.key == wanted}
    at, key = _stamp(context), wanted or ""
    both = Taint(key=key, effect="NoSchedule", timeAdded=at), Taint(key=key, effect="NoExecute", timeAdded=at)
    new = tuple(one for one in both if wanted and one.effect not in had)
    return replace(node, spec=replace(node.spec, taints=(*kept, *new))) if new or kept != node.spec.taints else node


def _ready(node: Node) -> str:
    return next((one.status for one in node.status.conditions if one.type == "Ready"), "")


def _unready(pod: Pod, at: str) -> Pod:
    def off(one: Condition) -> Condition:
        return replace(one, status="False", lastTransitionTime=at) if one.type == "Ready" else one

    return replace(pod, status=replace(pod.status, conditions=tuple(map(off, pod.status.conditions))))


def _stamp(context: Context) -> str:
    return datetime.fromtimestamp(context.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
