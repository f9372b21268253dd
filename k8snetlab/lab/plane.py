"""A lab's own control plane, begun before there is a store to read: its nodes' network, and the etcd in it.

The store of such a lab is in its nodes, and what these are is in the store. So the Lab's object is also kept in a file,
from which the first daemon makes what the etcd stands on, as kubeadm begins with static pods; from then on it is the
agents' like all else. A later daemon finds it there, and adds only what is missing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from k8snetlab.addons.home import Home
from k8snetlab.agent.node import NodeAgent
from k8snetlab.agent.protocol import Surroundings
from k8snetlab.agent.router import RouterAgent
from k8snetlab.api import plane
from k8snetlab.api.lab import Lab, StoreSpec
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.node_status import ALLOCATABLE, architecture, capacity
from k8snetlab.controllers import Context, work_out
from k8snetlab.dataplane.names import ROUTER, node_netns
from k8snetlab.errors import StoreError
from k8snetlab.kernel import netns
from k8snetlab.state.ledger import Ledger
from k8snetlab.state.paths import LabPaths
from k8snetlab.state.plane import opener, read
from k8snetlab.state.power import Power
from k8snetlab.store.open import NEAR, open_store
from k8snetlab.store.protocol import Store

log = logging.getLogger(__name__)
PATIENCE = 60.0
"""Seconds that the etcd has to elect its first leader."""
LOOK = 0.1


class Plane:
    """Of a lab that has one."""

    def __init__(self, lab: Lab, paths: LabPaths, ledger: Ledger) -> None:
        self._lab, self._paths, self._ledger = lab, paths, ledger
        self._router = node_netns(lab.name, ROUTER)

    def opened(self, spec: StoreSpec) -> Store:
        """The lab's store, reached from its underlay."""
        return open_store(spec, self._paths.store, opener(self._lab.name), NEAR)

    async def begin(self) -> None:
        """Makes what is missing of the nodes with members, and has these begin."""
        await asyncio.to_thread(self._certify)
        power = Power(self._paths.power)
        for name in revived(self._lab, power.off):
            log.warning("%s gets its power back: without it the etcd has no leader, and nobody could ask for it", name)
            power.give(name)
        lacking = [seat.node for seat in plane.seats(self._lab) if not self._stands(seat.node)]
        if lacking or not netns.exists(self._router):
            await asyncio.to_thread(self._build, [name for name in lacking if name not in power.off])

    async def answers(self, store: Store) -> None:
        """Once the etcd has a leader. Raises StoreError when that takes longer than PATIENCE."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                await store.newest("/registry/")
            except StoreError as error:
                if time.monotonic() > deadline:
                    raise StoreError(
                        f"the etcd of lab {self._lab.name} has no leader after {PATIENCE:.0f} s: {error.message}",
                        f"more than half of {', '.join(seat.node for seat in plane.members(self._lab))} must be on",
                    ) from error
                await asyncio.sleep(LOOK)
            else:
                return

    def _stands(self, node: str) -> bool:
        return netns.exists(node_netns(self._lab.name, node))

    def _certify(self) -> None:
        from k8snetlab.store.pki import Authority  # loads OpenSSL, 10 MB that other labs do not want

        authority = Authority(self._paths.plane / "pki")
        authority.client()
        for seat in plane.members(self._lab):
            authority.server([seat.address], name=f"etcd-{seat.number}")

    def _build(self, lacking: Iterable[str]) -> None:
        snapshot = _first(self._lab)
        nodes = [NodeAgent(self._around(name)) for name in lacking]
        router = RouterAgent(self._around(ROUTER))
        try:
            for node in nodes:
                node.prepare(snapshot)
            router.sync(snapshot)
            for node in nodes:
                node.sync(snapshot)
            deadline = time.monotonic() + PATIENCE
            while not all(self._runs(node, snapshot) for node in nodes) and time.monotonic() < deadline:
                time.sleep(LOOK)
        finally:
            router.close()
            for node in nodes:
                node.close()

    def _runs(self, node: NodeAgent, snapshot: Snapshot) -> bool:
        """Whether its programs are there, ready or not."""
        node.sync(snapshot)
        return (self._paths.addons / node.name).is_dir()

    def _around(self, node: str) -> Surroundings:
        paths, group = self._paths, Path(self._ledger.cgroup) if self._ledger.cgroup else None
        home = Home(paths.addons, paths.kubelet_socket, paths.flannel, group)
        return Surroundings(node, self._ledger, paths.xtables_locks, addons=home)


def revived(lab: Lab, off: Collection[str]) -> tuple[str, ...]:
    """The nodes without power by which a daemon could never begin: `node start` is its own to answer."""
    members = [seat.node for seat in plane.members(lab)]
    dark = tuple(name for name in members if name in off)
    return dark if 2 * len(dark) >= len(members) else ()


def found(paths: LabPaths, ledger: Ledger) -> Plane | None:
    """None where the lab has none."""
    lab = read(paths)
    return Plane(lab, paths, ledger) if lab else None


def _first(lab: Lab) -> Snapshot:
    """The Lab with its nodes, as the controllers will make them."""
    snapshot = Snapshot.of([lab])
    context = Context(architecture(), capacity=capacity(), allocatable=ALLOCATABLE, time=time.time())
    wanted = work_out(snapshot, None, context).writes
    return snapshot.changed(((type(w.object), w.object.key, w.object) for w in wanted if w.action == "create"), 0)
