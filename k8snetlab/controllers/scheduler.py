"""The scheduler: filter the nodes a pod may run on, rank them, bind the pod to the best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from k8snetlab.api.core import Condition, Node, Pod
from k8snetlab.api.selection import by_owner, pods_by_node
from k8snetlab.api.snapshot import Change, Snapshot
from k8snetlab.controllers.changes import active, put
from k8snetlab.controllers.identity import controller_of

SCHEDULED = "PodScheduled"


def unscheduled(pod: Pod) -> Iterable[bool]:
    return (True,) if not pod.spec.nodeName and active(pod) else ()


def reconcile(now: Snapshot, before: Snapshot | None) -> Iterator[Change]:
    """Binds every pod without a node: spread over the nodes by owner, then by number of pods, then in node order."""
    if not (now.changes(Pod, before) or now.changes(Node, before)):
        return
    waiting = now.select(Pod, unscheduled, True)
    if not waiting:
        return
    nodes = list(now.all(Node).values())
    load = Counter({n.name: sum(map(active, now.select(Pod, pods_by_node, n.name).values())) for n in nodes})
    families: dict[tuple[str, str, str], Counter[str]] = {}
    for pod in waiting.values():
        owner = controller_of(pod)
        siblings: Counter[str] = Counter()
        if owner:
            group = (owner.kind, pod.namespace, owner.name)
            if group not in families:
                owned = now.select(Pod, by_owner, group).values()
                families[group] = Counter(p.spec.nodeName for p in owned if active(p))
            siblings = families[group]
        fit = [(siblings[n.name], load[n.name], i) for i, n in enumerate(nodes) if not _misfit(pod, n)]
        if not fit:
            yield from _unschedulable(pod, nodes)
            continue
        name = nodes[min(fit)[2]].name
        siblings[name] += 1
        load[name] += 1
        yield put(_bound(pod, name))


def _misfit(pod: Pod, node: Node) -> str:
    """Why a pod cannot run on a node, in the scheduler's words; "" where it can."""
    if node.spec.unschedulable:
        return "node(s) were unschedulable"
    if any(c.type == "Ready" and c.status != "True" for c in node.status.conditions):
        return "node(s) were not ready"
    if not node.network_available:
        return "node(s) had untolerated taint {node.kubernetes.io/network-unavailable: }"
    if any(node.metadata.labels.get(k) != v for k, v in pod.spec.nodeSelector.items()):
        return "node(s) didn't match Pod's node affinity/selector"
    return ""


def _bound(pod: Pod, node: str) -> Pod:
    conditions = _conditions(pod, Condition(type=SCHEDULED, status="True"))
    return replace(
        pod, spec=replace(pod.spec, nodeName=node), status=replace(pod.status, conditions=conditions, message="")
    )


def _unschedulable(pod: Pod, nodes: list[Node]) -> Iterator[Change]:
    reasons = Counter(_misfit(pod, node) for node in nodes)
    why = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    message = f"0/{len(nodes)} nodes are available: {why or 'there is no node'}."
    condition = Condition(type=SCHEDULED, status="False", reason="Unschedulable", message=message)
    if condition not in pod.status.conditions:
        yield put(replace(pod, status=replace(pod.status, conditions=_conditions(pod, condition), message=message)))


def _conditions(pod: Pod, condition: Condition) -> tuple[Condition, ...]:
    return (*(c for c in pod.status.conditions if c.type != condition.type), condition)
