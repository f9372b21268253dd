"""Cordoned nodes: the taint that says so, and the kubelet's word of it.

Source: Kubernetes pkg/controller/nodelifecycle (doNoScheduleTaintingPass), pkg/kubelet/kubelet_node_status.go
(recordNodeSchedulableEvent).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from msgspec.structs import replace

from k8snetlab.api.core import Node, Taint
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.changes import Answer, Context, each, put, record
from k8snetlab.controllers.correlation import Note

KEY, KUBELET = "node.kubernetes.io/unschedulable", "kubelet"


def reconcile(now: Snapshot, before: Snapshot | None, context: Context) -> Iterator[Answer]:
    nodes = [node for key in now.changes(Node, before) if (node := now.all(Node).get(key))]
    yield from each(nodes, lambda node: _tainted(node, context), lambda node: node)


def _tainted(node: Node, context: Context) -> Iterator[Answer]:
    has = any(_is_cordons(taint) for taint in node.spec.taints)
    if has == node.spec.unschedulable:
        return
    taints = tuple(taint for taint in node.spec.taints if not _is_cordons(taint))
    if node.spec.unschedulable:
        stamp = datetime.fromtimestamp(context.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        taints = (*taints, Taint(key=KEY, effect="NoSchedule", timeAdded=stamp))
    new = replace(node, spec=replace(node.spec, taints=taints))
    yield put(new)
    status = "NodeNotSchedulable" if node.spec.unschedulable else "NodeSchedulable"
    note = Note(new, "Normal", status, f"Node {node.name} status is now: {status}", KUBELET, host=node.name)
    yield record(new, note)


def _is_cordons(taint: Taint) -> bool:
    return (taint.key, taint.effect) == (KEY, "NoSchedule")
