"""Tells as Events what becomes of load balancers: which node announces an address, and why a Service has none.

Source: MetalLB speaker/main.go (nodeAssigned), controller/service.go (AllocationFailed).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from k8snetlab.addons.announcers import announcers
from k8snetlab.api.core import Node, Service
from k8snetlab.api.lab import Lab
from k8snetlab.api.selection import balanced
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.controllers import load_balancers
from k8snetlab.render.lb import candidates
from k8snetlab.running import beats

SPEAKER = "metallb-speaker"
PROTOCOLS = {"l2": "layer2", "bgp": "bgp"}
"""What MetalLB calls the modes in which nodes announce addresses."""
TICK = 0.5
"""Seconds between two looks at the speakers."""


class Announcements:
    """What was told of each Service, so that it is told once. A daemon that begins tells again what is so."""

    def __init__(self, cluster: Cluster, files: Path, leads: Callable[[], bool]) -> None:
        """Of several machines the one that `leads` tells of failures; each tells of its own speaker."""
        self._cluster, self._files, self._leads = cluster, files, leads
        self._failed: dict[tuple[Key, str], str] = {}
        self._assigned: dict[tuple[Key, str], tuple[str, ...]] = {}
        self.looks = 0

    async def follow(self) -> None:
        """For as long as the lab lives."""
        before: Snapshot | None = None
        while True:
            await self._balanced()
            self.looks += 1
            snapshot = self._cluster.snapshot
            mode = snapshot.lab.spec.loadBalancer.mode
            leads = self._leads()
            if leads and (before is None or list(snapshot.changes(Service, before))):
                self._tell_failures(snapshot)
            before = snapshot if leads else None
            if mode in PROTOCOLS:
                self._tell_announcers(snapshot, mode)
            await asyncio.sleep(beats.until(TICK))

    async def _balanced(self) -> None:
        """Until the lab has a load balancer: where it has none, there is nothing to look at again and again."""
        async for snapshot in self._cluster.changes(kinds=(Lab,)):
            if snapshot.lab.spec.loadBalancer.mode != "none":
                return

    def _tell_failures(self, snapshot: Snapshot) -> None:
        found: dict[tuple[Key, str], str] = {}
        for key, why in load_balancers.failures(snapshot).items():
            service = snapshot.all(Service)[key]
            one = key, service.metadata.uid
            found[one] = why
            if self._failed.get(one) != why:
                note = load_balancers.failed(service, why)
                self._cluster.record(service, note.type, note.reason, note.message, component=note.component)
        self._failed = found

    def _tell_announcers(self, snapshot: Snapshot, mode: str) -> None:
        services = snapshot.select(Service, balanced, True).values()
        told: dict[tuple[Key, str], tuple[str, ...]] = {}
        if mode == "bgp":
            known = candidates.announced(snapshot)  # each tells of it: none is chosen
        else:
            known = announcers(self._files, (node.name for node in snapshot.all(Node).values())) if services else {}
        for service in services:
            one = service.key, service.metadata.uid
            addresses = [ingress.ip for ingress in service.status.loadBalancer.ingress]
            nodes = tuple(sorted({node for address in addresses for node in known.get(address, ())}))
            for node in nodes:
                if node not in self._assigned.get(one, ()):
                    message = f'announcing from node "{node}" with protocol "{PROTOCOLS[mode]}"'
                    self._cluster.record(service, "Normal", "nodeAssigned", message, component=SPEAKER, host=node)
            told[one] = nodes
        self._assigned = told
