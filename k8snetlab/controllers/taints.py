"""Pods leave a node whose taint of effect NoExecute they do not tolerate.

One that is tolerated for some seconds is not seen to: for that a clock is needed.
Source: Kubernetes pkg/controller/tainteviction.
"""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.selection import pods_by_node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.changes import Answer, active, each, record, remove
from k8snetlab.controllers.correlation import Note
from k8snetlab.controllers.fitting import tolerates_node

COMPONENT = "taint-eviction-controller"
EVICTING = ("NoExecute",)


def reconcile(now: Snapshot, before: Snapshot | None) -> Iterator[Answer]:
    nodes = [node for key in now.changes(Node, before) if (node := now.all(Node).get(key)) and _evicts(node)]
    leaving = {
        pod.key: pod
        for node in nodes
        for pod in now.select(Pod, pods_by_node, node.name).values()
        if not tolerates_node(pod, node, EVICTING)
    }
    if any(map(_evicts, now.all(Node).values())):
        for key in now.changes(Pod, before):
            pod = now.all(Pod).get(key)
            on = now.get(Node, pod.spec.nodeName) if pod else None
            if pod and on and not tolerates_node(pod, on, EVICTING):
                leaving[key] = pod
    yield from each(leaving.values(), lambda pod: _evicted(pod, now), lambda pod: pod)


def _evicts(node: Node) -> bool:
    return any(taint.effect == "NoExecute" for taint in node.spec.taints)


def _evicted(pod: Pod, now: Snapshot) -> Iterator[Answer]:
    if active(pod):
        yield from remove(pod, now)
        message = f"Marking for deletion Pod {pod.namespace}/{pod.name}"
        yield record(pod, Note(pod, "Normal", "TaintManagerEviction", message, COMPONENT))
