"""How the pods of a request stand: each is looked at again only when it is another one, or its node is."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Literal, get_args

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.pod_state import never_ready, trouble
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.controllers.rejection import rejected
from k8snetlab.running.agents import is_paused

Stand = Literal["orphaned", "paused", "unreachable", "ending", "ready", "misfit", "failed", "over", "coming"]
"""How a pod stands. orphaned: bound to a node that has not joined yet, or has gone; paused: its node changes nothing;
unreachable: its node is silent, or the agent there fails; misfit: it fits no node; over: it has failed, or a container
of it has ended, and restartPolicy does not start it again."""
DONE: tuple[Stand, ...] = ("ready", "over")


class Stands:
    """`stands[stand]` are the pods that stand so, in no order."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[Pod, Stand]] = {}
        self._of: dict[Stand, dict[Key, Pod]] = {stand: {} for stand in get_args(Stand)}
        self._around: tuple[object, ...] = ()
        self._followed: Mapping[Key, Pod] = {}
        self.judged = 0
        """How many times a pod was looked at."""

    def __getitem__(self, stand: Stand) -> Mapping[Key, Pod]:
        return self._of[stand]

    def __len__(self) -> int:
        return len(self._known)

    @property
    def undone(self) -> Iterator[Pod]:
        for stand, pods in self._of.items():
            if stand not in DONE:
                yield from pods.values()

    def follow(self, pods: Mapping[Key, Pod], snapshot: Snapshot, silent: Iterable[str], broken: Iterable[str]) -> None:
        """These pods and no others, now; none is another one where they are the mapping of the last time. `silent` are
        nodes that do not answer, `broken` those whose agents fail."""
        silent, broken = frozenset(silent), frozenset(broken)
        around = (silent, broken, frozenset((name, is_paused(node)) for (_, name), node in snapshot.all(Node).items()))
        if around != self._around:
            self._around = around
            self._forget(list(self._known))
        elif pods is self._followed:
            return
        self._followed = pods
        self._forget(self._known.keys() - pods.keys())
        for key, pod in pods.items():
            known = self._known.get(key)
            if known is None or known[0] is not pod:
                self._forget([key] if known else [])
                stand = _stand(pod, snapshot, silent, broken)
                self._known[key], self._of[stand][key] = (pod, stand), pod
                self.judged += 1

    def _forget(self, keys: Iterable[Key]) -> None:
        for key in keys:
            del self._of[self._known.pop(key)[1]][key]


def _stand(pod: Pod, snapshot: Snapshot, silent: Container[str], broken: Container[str]) -> Stand:
    node = snapshot.get(Node, pod.spec.nodeName) if pod.spec.nodeName else None
    if pod.spec.nodeName and node is None and not pod.metadata.deletionTimestamp:
        return "orphaned"
    if node and is_paused(node) and (pod.metadata.deletionTimestamp or not pod.ready):
        return "paused"
    if pod.spec.nodeName in silent or (pod.spec.nodeName in broken and not pod.ready):
        return "unreachable"
    return _own_stand(pod)


def _own_stand(pod: Pod) -> Stand:
    """As the pod itself says, on a node that answers."""
    if pod.metadata.deletionTimestamp:
        return "ending"
    if pod.ready or pod.status.phase == "Succeeded":
        return "ready"
    if _unschedulable(pod):
        return "misfit"
    if rejected(pod):
        return "failed"
    if pod.ended:
        return "over"
    if trouble(pod):
        return "failed"
    return "over" if never_ready(pod) else "coming"


def _unschedulable(pod: Pod) -> bool:
    return not pod.spec.nodeName and any(
        c.type == "PodScheduled" and c.status == "False" for c in pod.status.conditions
    )


def doing(pod: Pod) -> str:
    """What a pod that is not ready is doing."""
    if pod.metadata.deletionTimestamp:
        return "Terminating"
    if not pod.spec.nodeName:
        return "Pending, no node was chosen yet"
    return why(pod) if pod.status.phase == "Running" else f"ContainerCreating on {pod.spec.nodeName}"


def why(pod: Pod) -> str:
    """Why it is not ready, as its status says."""
    said = [trouble(pod), *(c.message for c in pod.status.conditions if c.status == "False")]
    return next((message for message in said if message), pod.status.reason or pod.status.phase)
