"""Pods that may be active for `activeDeadlineSeconds` only: ended and failed when these have passed.

Source: Kubernetes pkg/kubelet/active_deadline.go.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from functools import partial

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.pod_state import DEADLINE, TOO_LONG, deadline, exceeded, observed
from k8snetlab.api.selection import pods_by_uid
from k8snetlab.api.workload import PodState
from k8snetlab.cluster.admitted import now
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import NotFoundError
from k8snetlab.running.kubelet_link import KubeletLink
from k8snetlab.supervision import Supervisor

LOOK = 60.0
"""Seconds after which the clock is looked at again, which someone may have set."""


class Deadlines:
    """Follows this machine's pods; each that has a deadline is waited for in a task of its own. `tell` makes Events of
    what the kubelet says of a pod."""

    def __init__(
        self,
        cluster: Cluster,
        kubelet: KubeletLink,
        supervisor: Supervisor,
        tell: Callable[[Pod, PodState], None],
    ) -> None:
        self._cluster, self._kubelet, self._supervisor, self._tell = cluster, kubelet, supervisor, tell
        self._waiting: dict[str, tuple[float, asyncio.Task[None]]] = {}

    def follow(self, pods: Iterable[Pod]) -> None:
        """These are new or have changed."""
        for pod in pods:
            uid, at = pod.run_uid, deadline(pod)
            known = self._waiting.get(uid)
            if at is None or pod.metadata.deletionTimestamp or (known and known[0] == at):
                continue
            if known:
                known[1].cancel()
            task = self._supervisor.finish(f"deadline of pod {pod.namespace}/{pod.name}", partial(self._wait, pod, at))
            self._waiting[uid] = at, task

    async def _wait(self, pod: Pod, at: float) -> None:
        uid = pod.run_uid
        while (left := at - time.time()) > 0 and self._lives(uid):
            await asyncio.sleep(min(left, LOOK))
        if self._lives(uid):
            self._cluster.record(pod, "Normal", DEADLINE, TOO_LONG, component="kubelet", host=pod.spec.nodeName)
            (state,) = await self._kubelet.request("stop", uids=[uid], keep=True)
            self._tell(pod, state)
            with contextlib.suppress(NotFoundError):
                await self._cluster.edit(pod, partial(self._failed, uid, state))
        self._waiting.pop(uid, None)

    def _lives(self, uid: str) -> bool:
        stored = self._cluster.snapshot.select(Pod, pods_by_uid, uid).values()
        return any(not (pod.ended or pod.metadata.deletionTimestamp) for pod in stored)

    def _failed(self, uid: str, state: PodState, stored: Pod) -> Pod:
        if stored.run_uid != uid or stored.ended:
            return stored
        node = self._cluster.snapshot.get(Node, stored.spec.nodeName)
        host = node.addresses[0] if node and node.addresses else ""
        return exceeded(observed(stored, state.containers, host, now()), now())


def is_late(pod: Pod) -> bool:
    """Whether a pod's deadline has passed, so that it is not to be run any more."""
    at = deadline(pod)
    return at is not None and at <= time.time()
