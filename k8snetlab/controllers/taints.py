"""Pods leave a node whose taint of effect NoExecute they do not tolerate, or have tolerated for as long as they do.

Source: Kubernetes pkg/controller/tainteviction (processPodOnNode, GetMinTolerationTime). There the seconds count from
when the controller first sees the taint; here from the taint's timeAdded, which it gets where it has none, so that a
daemon that is killed counts on.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from msgspec.structs import replace

from k8snetlab.api.ages import moment
from k8snetlab.api.core import Node, Pod, Taint
from k8snetlab.api.selection import pods_by_node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.changes import Answer, Context, active, due, each, put, record, remove
from k8snetlab.controllers.correlation import Note
from k8snetlab.controllers.fitting import tolerates

COMPONENT = "taint-eviction-controller"


def reconcile(now: Snapshot, before: Snapshot | None, context: Context) -> Iterator[Answer]:
    nodes = [node for key in now.changes(Node, before) if (node := now.all(Node).get(key)) and _evicting(node)]
    yield from each(nodes, lambda node: _dated(node, context), lambda node: node)
    staying = {pod.key: pod for node in nodes for pod in now.select(Pod, pods_by_node, node.name).values()}
    if any(map(_evicting, now.all(Node).values())):
        staying |= {key: pod for key in now.changes(Pod, before) if (pod := now.all(Pod).get(key)) is not None}
    yield from each(staying.values(), lambda pod: _looked_at(pod, now, context), lambda pod: pod)


def _evicting(node: Node) -> tuple[Taint, ...]:
    return tuple(taint for taint in node.spec.taints if taint.effect == "NoExecute")


def _dated(node: Node, context: Context) -> Iterator[Answer]:
    """The node, with the time in each of these taints."""
    stamp = datetime.fromtimestamp(context.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    taints = tuple(
        replace(taint, timeAdded=stamp) if taint.effect == "NoExecute" and moment(taint.timeAdded) is None else taint
        for taint in node.spec.taints
    )
    if taints != node.spec.taints:
        yield put(replace(node, spec=replace(node.spec, taints=taints)))


def _looked_at(pod: Pod, now: Snapshot, context: Context) -> Iterator[Answer]:
    node = now.get(Node, pod.spec.nodeName) if pod.spec.nodeName else None
    if node is None or not active(pod):
        return
    since = moment(pod.metadata.creationTimestamp) or 0.0
    ends = [end for taint in _evicting(node) if (end := _tolerated_until(pod, taint, since, context)) is not None]
    if not ends:
        return
    if (at := min(ends)) > context.time:
        yield from due(pod, at)
        return
    yield from remove(pod, now)
    message = f"Marking for deletion Pod {pod.namespace}/{pod.name}"
    yield record(pod, Note(pod, "Normal", "TaintManagerEviction", message, COMPONENT))


def _tolerated_until(pod: Pod, taint: Taint, since: float, context: Context) -> float | None:
    """Until when (seconds since 1970) the pod, which is there `since`, tolerates the taint; None for ever."""
    matching = [one for one in pod.spec.tolerations if tolerates(one, taint)]
    if not matching:
        return 0.0
    limits = [max(0, one.tolerationSeconds) for one in matching if one.tolerationSeconds is not None]
    if not limits:
        return None
    return max(since, moment(taint.timeAdded) or context.time) + min(limits)
