"""Nodes' heartbeats in a lab of namespaces: renewed as long as a node has power, and what their absence means.

Source: Kubernetes pkg/controller/nodelifecycle (monitorNodeHealth): a node whose Lease has not been renewed for
nodeMonitorGracePeriod is of unknown health. As there, how long that is, is measured and not read from a clock that may
jump.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator

from msgspec.structs import replace

from k8snetlab.api import renewal
from k8snetlab.api.ages import moment
from k8snetlab.api.coordination import NODE_LEASES, Lease
from k8snetlab.api.core import Node
from k8snetlab.api.lab import Lab
from k8snetlab.api.machines import is_machine
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.admitted import now
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.controllers import Write
from k8snetlab.controllers.node_leases import period
from k8snetlab.controllers.node_lifecycle import silent_node
from k8snetlab.errors import K8sNetLabError, NotFoundError, StoreError
from k8snetlab.state.power import Power

log = logging.getLogger(__name__)
DURATION = 40
"""Seconds of a Lease that does not say it."""
RETRY = 1.0
"""Seconds before what the store did not take is tried again."""


class Heartbeats:
    def __init__(self, cluster: Cluster, power: Power) -> None:
        self._cluster, self._power = cluster, power
        self._wake = asyncio.Event()
        self._silent: dict[str, float] = {}
        """When a node's grace is over, in monotonic seconds."""

    def look(self) -> None:
        """The power is another one than before."""
        self._wake.set()

    async def keep(self) -> None:
        """For as long as the lab lives."""
        listening = asyncio.create_task(self._listen())
        try:
            while not listening.done():
                self._wake.clear()
                pause = await self._once(self._cluster.snapshot)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
            listening.result()
        finally:
            listening.cancel()

    async def _listen(self) -> None:
        async for _ in self._cluster.changes(kinds=(Lab, Node, Lease)):
            self._wake.set()

    async def _once(self, snapshot: Snapshot) -> float | None:
        """Seconds until it is to look again, None where something must change before."""
        if not snapshot.all(Lab):
            return None
        grace, waits = snapshot.lab.spec.controlPlane.nodeMonitorGracePeriod, list[float]()
        for node, lease in _beating(snapshot):
            since = self._power.off.get(node.name)
            if (since is None) != (renewal.EVERY in lease.metadata.annotations):
                waits += await self._renew(lease, since)
            if since is None:
                self._silent.pop(node.name, None)
                continue
            last = moment(_beats(lease, since).spec.renewTime) or since
            left = min(grace, max(0.0, last + grace - time.time()))
            at = self._silent.setdefault(node.name, time.monotonic() + left)
            if at > time.monotonic():
                waits.append(at - time.monotonic())
            elif _is_ready(node):
                waits += await self._lose(node)
        return min(waits, default=None)

    async def _renew(self, lease: Lease, since: float | None) -> list[float]:
        """As nobody else may: who asks the API does not renew it."""
        try:
            (error,) = await self._cluster.write_batch([Write("update", _beats(lease, since), by="kubelet")])
        except StoreError as silent:
            error = silent
        return _retried(lease.name, error)

    async def _lose(self, node: Node) -> list[float]:
        """Marks a node that has been silent for too long."""
        try:
            await self._cluster.edit(node, lambda stored: silent_node(stored, now()))
        except NotFoundError:
            return []
        except K8sNetLabError as error:
            return _retried(node.name, error)
        return []


def _beating(snapshot: Snapshot) -> Iterator[tuple[Node, Lease]]:
    for (namespace, name), lease in snapshot.all(Lease).items():
        node = snapshot.get(Node, name) if namespace == NODE_LEASES else None
        if node is not None and not is_machine(node):
            yield node, lease


def _retried(name: str, error: Exception | None) -> list[float]:
    if error is None:
        return []
    log.warning("heartbeat of %s: %s", name, error)
    return [RETRY]


def _is_ready(node: Node) -> bool:
    return any(one.type == "Ready" and one.status != "Unknown" for one in node.status.conditions)


def _beats(lease: Lease, since: float | None) -> Lease:
    """The Lease as it is renewed from now on, or as it was renewed last before the power went at `since`."""
    annotations = {key: value for key, value in lease.metadata.annotations.items() if key != renewal.EVERY}
    if since is None:
        annotations[renewal.EVERY] = str(period(lease.spec.leaseDurationSeconds or DURATION))
        spec = replace(lease.spec, renewTime=renewal.moment(time.time()))
    else:
        spec = renewal.renewed(lease, since).spec
    return replace(lease, metadata=replace(lease.metadata, annotations=annotations), spec=spec)
