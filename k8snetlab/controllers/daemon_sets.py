"""DaemonSets: a pod on every node that takes one.

Source: Kubernetes pkg/controller/daemon (daemon_controller.go, update.go, util/daemonset_util.go).
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from k8snetlab.api.core import Node, Pod, PodSpec, Toleration
from k8snetlab.api.placement import (
    Affinity,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
)
from k8snetlab.api.selection import by_owner
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.workloads import (
    REVISION_HASH,
    ControllerRevision,
    DaemonSet,
    DaemonSetStatus,
)
from k8snetlab.controllers import daemon_updates, revisions
from k8snetlab.controllers.availability import available
from k8snetlab.controllers.changes import (
    NOTHING,
    Answer,
    Context,
    active,
    due,
    each,
    owners_changed,
    put,
    record,
    remove,
)
from k8snetlab.controllers.correlation import Note
from k8snetlab.controllers.fitting import tolerates_node, wanted
from k8snetlab.controllers.identity import names
from k8snetlab.controllers.making import pod_of

COMPONENT = "daemonset-controller"
_TOLERATED = (
    *(
        Toleration(key=f"node.kubernetes.io/{taint}", operator="Exists", effect="NoExecute")
        for taint in ("not-ready", "unreachable")
    ),
    *(
        Toleration(key=f"node.kubernetes.io/{taint}", operator="Exists", effect="NoSchedule")
        for taint in ("disk-pressure", "memory-pressure", "pid-pressure", "unschedulable")
    ),
)
_NETWORKLESS = Toleration(key="node.kubernetes.io/network-unavailable", operator="Exists", effect="NoSchedule")


def reconcile(now: Snapshot, before: Snapshot | None, context: Context = NOTHING) -> Iterator[Answer]:
    keys = dict.fromkeys(owners_changed(DaemonSet, Pod, now, before))
    if now.changes(Node, before):
        keys |= dict.fromkeys(now.all(DaemonSet))
    for key in owners_changed(DaemonSet, ControllerRevision, now, before):
        keys[key] = None
    found = [one for key in keys if (one := now.all(DaemonSet).get(key)) and not one.metadata.deletionTimestamp]

    def work(obj: DaemonSet) -> Iterator[Answer]:
        return _synced(obj, now, context)

    yield from each(found, work, lambda one: one)


def _synced(obj: DaemonSet, now: Snapshot, context: Context) -> Iterator[Answer]:
    failure = context.failures.get((obj.KIND, *obj.key), "")
    history = revisions.history(obj, now)
    yield from history.answers
    hash_ = revisions.hash_of(history.now)
    held: dict[str, list[Pod]] = {}
    for pod in now.select(Pod, by_owner, (obj.KIND, *obj.key)).values():
        held.setdefault(node_of(pod), []).append(pod)
    model = Pod(spec=tolerating(obj.spec.template.spec))
    nodes = {node.name: node for node in now.all(Node).values()}
    takes = {name for name, node in nodes.items() if wanted(model, node) and tolerates_node(model, node)}
    everyone = [pod for pods in held.values() for pod in pods]
    lasting = available(everyone, obj.spec.minReadySeconds, context.time)
    yield from due(obj, lasting.next)
    pods_now = daemon_updates.Pods(obj, held, takes, hash_, lasting.names)
    leaving = [*_surplus(pods_now, nodes), *pods_now.outdated()]
    for pod in leaving:
        yield from remove(pod, now)
        if not pod.metadata.deletionTimestamp:
            yield record(pod, Note(obj, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.name}", COMPONENT))
    free = (name for name in names(obj.name) if (obj.namespace, name) not in now.all(Pod))
    surged = pods_now.surging()
    for name in () if failure else [one for one in nodes if one in surged or (one in takes and not held.get(one))]:
        pod = pod_of(obj, obj.spec.template, next(free), {REVISION_HASH: hash_}, spec=bound(model.spec, name))
        held.setdefault(name, []).append(pod)
        yield put(pod)
        yield record(pod, Note(obj, "Normal", "SuccessfulCreate", f"Created pod: {pod.name}", COMPONENT))
    status = _status(obj, held, takes, hash_, lasting.names)
    if status != obj.status:
        yield put(replace(obj, status=status))
    used = {pod.metadata.labels.get(REVISION_HASH, "") for pods in held.values() for pod in pods}
    yield from revisions.forgotten(history, obj.spec.revisionHistoryLimit, used)


def _surplus(pods_now: daemon_updates.Pods, nodes: dict[str, Node]) -> Iterator[Pod]:
    """Pods on nodes that take none, that have ended, or that are there twice."""
    for name, pods in pods_now.held.items():
        stay = pods_now.staying(name)
        for pod in pods:
            if not active(pod):
                if pod.ended:
                    yield pod
            elif pod.name not in stay or (
                name not in pods_now.takes and (name not in nodes or not _continues(pod, nodes[name]))
            ):
                yield pod


def _continues(pod: Pod, node: Node) -> bool:
    """Whether a pod that is there may stay: only what evicts pods counts then."""
    return wanted(pod, node) and tolerates_node(pod, node, ("NoExecute",))


def _status(
    obj: DaemonSet, held: dict[str, list[Pod]], takes: set[str], hash_: str, lasting: frozenset[str]
) -> DaemonSetStatus:
    living = {name: [pod for pod in pods if active(pod)] for name, pods in held.items()}
    first = {name: min(pods, key=lambda one: not one.ready) for name, pods in living.items() if pods}
    mine = [pod for name, pod in first.items() if name in takes]
    ready = sum(pod.ready for pod in mine)
    return DaemonSetStatus(
        currentNumberScheduled=len(mine),
        numberMisscheduled=len(first) - len(mine),
        desiredNumberScheduled=len(takes),
        numberReady=ready,
        observedGeneration=obj.metadata.generation,
        updatedNumberScheduled=sum(pod.metadata.labels.get(REVISION_HASH) == hash_ for pod in mine),
        numberAvailable=len(lasting & {pod.name for pod in mine}),
        numberUnavailable=len(takes) - len(lasting & {pod.name for pod in mine}),
        conditions=obj.status.conditions,
    )


def tolerating(spec: PodSpec) -> PodSpec:
    """With what every pod of a DaemonSet tolerates."""
    added = (*_TOLERATED, _NETWORKLESS) if spec.hostNetwork else _TOLERATED
    return replace(spec, tolerations=(*spec.tolerations, *(one for one in added if one not in spec.tolerations)))


def bound(spec: PodSpec, node: str) -> PodSpec:
    """The spec of a pod for one node, which the scheduler then binds."""
    field = (NodeSelectorRequirement(key="metadata.name", operator="In", values=(node,)),)
    affinity = spec.affinity or Affinity()
    own = affinity.nodeAffinity or NodeAffinity()
    required = own.requiredDuringSchedulingIgnoredDuringExecution
    terms = required.nodeSelectorTerms if required else (NodeSelectorTerm(),)
    selector = NodeSelector(nodeSelectorTerms=tuple(replace(term, matchFields=field) for term in terms))
    own = replace(own, requiredDuringSchedulingIgnoredDuringExecution=selector)
    return replace(spec, affinity=replace(affinity, nodeAffinity=own))


def node_of(pod: Pod) -> str:
    """The node that a pod is on or is for."""
    if pod.spec.nodeName:
        return pod.spec.nodeName
    affinity = pod.spec.affinity.nodeAffinity if pod.spec.affinity else None
    required = affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity else None
    for term in required.nodeSelectorTerms if required else ():
        for one in term.matchFields:
            if one.key == "metadata.name" and len(one.values) == 1:
                return one.values[0]
    return ""
