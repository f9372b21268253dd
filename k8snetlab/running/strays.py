"""What the kubelet runs for no pod of the store: pods deleted by force, or while no daemon was there."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from k8snetlab.api.core import Pod
from k8snetlab.api.selection import pods_by_uid
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.workload import PodState


class Strays:
    """Each change of the store is looked at once, however many nodes there are."""

    def __init__(self) -> None:
        self._seen: tuple[Snapshot, Mapping[str, PodState]] | None = None
        self._nodes: dict[str, str] = {}
        """By the uid of a pod that went, its node; "" where that is not known."""

    def follow(self, stored: Snapshot, states: Mapping[str, PodState]) -> None:
        """Looks at what went since the last time, and at all of `states` where that is another mapping."""
        before, self._seen = self._seen, (stored, states)
        if before is None or before[1] is not states:
            self._nodes |= {uid: "" for uid in states if not stored.select(Pod, pods_by_uid, uid)}
            return
        old, now = before[0].all(Pod), stored.all(Pod)
        for key in stored.changes(Pod, before[0]):
            pod, new = old.get(key), now.get(key)
            if pod is not None and (new is None or new.run_uid != pod.run_uid):
                self._nodes[pod.run_uid] = pod.spec.nodeName

    def begun(self, pods: Iterable[Pod], stored: Snapshot) -> None:
        """Pods that were just run as an agent had synced them: the store, which was looked at before, may have others
        in their place by now."""
        self._nodes |= {
            pod.run_uid: pod.spec.nodeName for pod in pods if not stored.select(Pod, pods_by_uid, pod.run_uid)
        }

    def of(self, synced: Snapshot, node: str, agents: Container[str]) -> list[str]:
        """Those that are none of the pods that this node's agent has `synced`. A pod is run when its own agent has it:
        until then it may be told again."""
        gone = [uid for uid in self._nodes if not synced.select(Pod, pods_by_uid, uid)]
        for uid in gone:
            if self._nodes[uid] == node or self._nodes[uid] not in agents:
                del self._nodes[uid]
        return gone
