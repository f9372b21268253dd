"""How a DaemonSet's pods are replaced: each after it has gone (`maxUnavailable`), or by one beside it (`maxSurge`).

Source: Kubernetes pkg/controller/daemon (update.go, and podsShouldBeOnNode of daemon_controller.go).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from k8snetlab.api.core import Pod
from k8snetlab.api.workloads import REVISION_HASH, DaemonSet, RollingUpdateDaemonSet
from k8snetlab.controllers.changes import active
from k8snetlab.controllers.proportions import share


class Pods(NamedTuple):
    """What a DaemonSet has: `held` its pods of each node, `takes` the nodes that are to have one, `hash_` the revision
    that they are to be of, `lasting` the names of those that are available."""

    obj: DaemonSet
    held: Mapping[str, Sequence[Pod]]
    takes: set[str]
    hash_: str
    lasting: frozenset[str]

    def staying(self, node: str) -> set[str]:
        """The names of the pods that may be on that node together: one, or while it surges an old and a new one."""
        ordered = sorted(self._living(node), key=lambda pod: (not pod.ready, *_age(pod)))
        if not self._surge:
            return {pod.name for pod in ordered[:1]}
        old, new = (next((pod for pod in ordered if self._is_old(pod) is kind), None) for kind in (True, False))
        if old and new and (not old.ready or new.name in self.lasting):
            old = None
        return {pod.name for pod in (old, new) if pod}

    def outdated(self) -> list[Pod]:
        """The pods of another revision that may go now, as many as `maxUnavailable` lets be missing."""
        if not self._rolls or self._surge:
            return []
        limit = max(1, self._share(self._rolling.maxUnavailable))
        old: list[Pod] = []
        missing = 0
        for node in self.takes:
            living = self._living(node)
            missing += not any(pod.name in self.lasting for pod in living)
            old += filter(self._is_old, living)
        broken = [pod for pod in old if pod.name not in self.lasting]
        return [*broken, *[pod for pod in old if pod.name in self.lasting][: max(0, limit - missing)]]

    def surging(self) -> set[str]:
        """The nodes that get a new pod beside their old one now, as many as `maxSurge` lets have two."""
        if not self._surge:
            return set()
        free: list[str] = []
        candidates: list[str] = []
        twice = 0
        for node in sorted(self.takes):
            living = self._living(node)
            old = [pod for pod in living if self._is_old(pod)]
            if old and len(old) < len(living):
                twice += 1
            elif old and len(living) == len(self.held[node]):
                (candidates if old[0].name in self.lasting else free).append(node)
        return {*free, *candidates[: max(0, self._surge - twice)]}

    @property
    def _rolls(self) -> bool:
        return self.obj.spec.updateStrategy.type == "RollingUpdate"

    @property
    def _rolling(self) -> RollingUpdateDaemonSet:
        return self.obj.spec.updateStrategy.rollingUpdate or RollingUpdateDaemonSet()

    @property
    def _surge(self) -> int:
        """How many nodes may have two pods; of a percentage, rounded up."""
        return self._share(self._rolling.maxSurge) if self._rolls else 0

    def _share(self, limit: int | str) -> int:
        return -(-share(limit, len(self.takes)) // 100)

    def _living(self, node: str) -> list[Pod]:
        return [pod for pod in self.held.get(node, ()) if active(pod)]

    def _is_old(self, pod: Pod) -> bool:
        return pod.metadata.labels.get(REVISION_HASH) != self.hash_


def _age(pod: Pod) -> tuple[str, str]:
    """Sorts the oldest first; one that is about to be made last."""
    return pod.metadata.creationTimestamp or "9", pod.name
