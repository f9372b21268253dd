"""This machine as a Node of the lab: heartbeat, subnet lease, Node object, as kubelet and flanneld keep them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from functools import partial

from msgspec.structs import replace

from k8snetlab.api import leases
from k8snetlab.api.addressing import IPNetwork
from k8snetlab.api.core import Node, Pod
from k8snetlab.api.defaults import expanded_nodes
from k8snetlab.api.lab import LabNode
from k8snetlab.api.machines import INTERFACE, LEAVING, MACHINE
from k8snetlab.api.selection import pods_by_node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.admitted import now
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.cluster.node_status import architecture
from k8snetlab.controllers.node_lifecycle import network_up
from k8snetlab.controllers.nodes import described
from k8snetlab.errors import AlreadyExistsError, ConflictError, InputError, K8sNetLabError, NotFoundError, StoreError
from k8snetlab.machines.following import RETRY, Followed
from k8snetlab.machines.leased import SOON, Leased
from k8snetlab.machines.subnet_files import SubnetFiles
from k8snetlab.machines.subnets import SubnetManager
from k8snetlab.render.subnet_env import subnet_env, text
from k8snetlab.state.machine import Machine
from k8snetlab.store.protocol import Store

log = logging.getLogger(__name__)
HEARTBEAT = 40
"""Seconds after which a node without a heartbeat is lost; kubelet's nodeLeaseDurationSeconds."""
FOLD = 0.1
"""Seconds in which changes are one change."""
DRAIN = 15.0
"""Seconds that the pods of a node that leaves get to end."""


class Registration:
    """Keeps the Node of this machine up to date for as long as `run` runs.

    `problems` has a sentence for each thing that is not so. What is refused (another machine has the name, or the
    address) is tried again every second: the other may go.
    """

    def __init__(
        self,
        store: Store,
        cluster: Cluster,
        machine: Machine,
        subnets: SubnetManager,
        heartbeats: Followed,
        *,
        files: SubnetFiles,
        duration: int = HEARTBEAT,
    ) -> None:
        self._files = files
        self._cluster, self._machine, self._subnets, self._heartbeats = cluster, machine, subnets, heartbeats
        self._identity = f"{machine.hostname} {','.join(machine.addresses)}"
        self._key = leases.NODE_LEASES + machine.node
        self._duration = duration
        self._beat = Leased(store, heartbeats, duration, lambda _, value: self._is_ours(value))
        self._value = leases.coordination_lease(self._key, machine.node, duration, now(), self._identity)
        self._wake, self._turn = asyncio.Event(), asyncio.Event()
        self._node: Node | None = None
        self._refusal: K8sNetLabError | None = None
        self._leaving = False
        self._busy = asyncio.Lock()

    @property
    def problems(self) -> dict[str, str]:
        found = {"node": self._refusal.message} if self._refusal else {}
        return {**found, **self._subnets.problems}

    def wake(self) -> None:
        self._wake.set()

    async def registered(self) -> Node:
        """The Node, once it is registered. Raises what it was refused with."""
        while self._node is None:
            if isinstance(self._refusal, ConflictError | InputError):
                raise self._refusal
            turn = self._turn
            await turn.wait()
        return self._node

    async def run(self) -> None:
        """Registers, and keeps what is registered, for ever."""
        while True:
            self._wake.clear()
            pause = RETRY
            try:
                async with self._busy:
                    pause = await self._once(self._cluster.snapshot)
                self._say(None)
            except ConflictError as error:
                self._node = None
                self._say(error)
            except K8sNetLabError as error:
                self._say(error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
                await asyncio.sleep(FOLD if self._node else 0)

    async def leave(self) -> None:
        """Gives everything back: the pods go (their controllers make others elsewhere), then the Node, then its leases.

        Nothing is registered anew afterwards. Raises StoreError when the store does not answer: this machine then stays
        the node that it was.
        """
        self._leaving = True
        try:
            await self._give_back()
        except BaseException:
            self._leaving = False
            self.wake()
            raise

    async def _give_back(self) -> None:
        async with self._busy:
            name = self._machine.node
            beat = self._heartbeats.entries.get(self._key)
            if beat is None or self._is_ours(beat.value):
                with contextlib.suppress(NotFoundError):
                    await self._drain(name)
                    await self._cluster.delete(self._cluster.current(Node, name))
                for pod in self._pods_of(name):
                    # Made meanwhile because their template names this very node: their successors wait for it.
                    with contextlib.suppress(NotFoundError):
                        await self._cluster.delete(pod, force=True)
            self._node = None
            await self._subnets.release()
            await self._beat.release()

    async def _once(self, snapshot: Snapshot) -> float:
        """One look at everything; returns the seconds until the next."""
        lab = snapshot.lab
        if self._leaving or self._cluster.informer.lost or not lab.spec.machines or lab.metadata.deletionTimestamp:
            return RETRY
        if self._heartbeats.listed is None or not self._subnets.ready:
            return RETRY
        if refusal := self._address_taken(snapshot):
            await self._withdraw()
            raise refusal
        beat = await self._beat.hold({self._key: self._value})
        if beat.others:
            raise self._name_taken()
        if beat.pending:
            return SOON
        node = await self._subnets.acquire(snapshot, self._machine.node, partial(self._described, snapshot))
        if node is None:
            return SOON
        await self._write(node)
        return min(self._beat.due, self._subnets.due)

    def _described(self, snapshot: Snapshot, subnets: list[IPNetwork]) -> Node:
        """The Node as it ought to be with these subnets."""
        lab, machine = snapshot.lab, self._machine
        old = snapshot.get(Node, machine.node)
        known = next((n for n in expanded_nodes(lab.spec) if n.name == machine.node), LabNode(name=machine.node))
        entry = replace(known, address=",".join(machine.addresses))
        node = described(lab, entry, subnets, old, architecture())
        annotations = {**node.metadata.annotations, MACHINE: machine.hostname, INTERFACE: machine.interface}
        if annotations.pop(LEAVING, ""):  # it was to leave, and could not
            node = replace(node, spec=replace(node.spec, unschedulable=False))
        node = replace(node, metadata=replace(node.metadata, annotations=annotations))
        return network_up(node, now()) if subnets else node

    async def _write(self, node: Node) -> None:
        stored = self._cluster.snapshot.get(Node, node.name)
        if stored is None:
            with contextlib.suppress(AlreadyExistsError):
                node = await self._cluster.create(node)
        elif stored != node:
            with contextlib.suppress(ConflictError):  # somebody else changed it: look again
                node = await self._cluster.replace(node)
        if self._node is None:
            log.info("registered as %s, pods in %s", node.name, ", ".join(node.podCIDRs))
        self._node = node
        self._files.write_own(node.name, text(subnet_env(self._cluster.snapshot.lab, node)))

    def _address_taken(self, snapshot: Snapshot) -> ConflictError | None:
        """Two nodes with one address cannot both be reached: the one that came first keeps it. (Nodes stand in a
        snapshot in the order in which they were stored, and two machines may come at the same moment.)"""
        for other in snapshot.all(Node).values():
            if other.name == self._machine.node:
                break
            same = set(self._machine.addresses).intersection(other.addresses)
            if same:
                return ConflictError(
                    f"{', '.join(sorted(same))} is the address of {other.name} already"
                    f" (machine {other.metadata.annotations.get(MACHINE, '?')})",
                    "--iface names an interface with an address of its own; a node that is gone for good is taken out "
                    f"by `k8snetlab delete node {other.name}`",
                )

        return None

    async def _withdraw(self) -> None:
        if self._cluster.snapshot.get(Node, self._machine.node) is not None:
            await self._cluster.delete(self._cluster.current(Node, self._machine.node))
        await self._subnets.release()

    def _name_taken(self) -> ConflictError:
        entry = self._heartbeats.entries.get(self._key)
        who = leases.holder_of(entry.value).machine if entry else ""
        return ConflictError(
            f"another machine is node {self._machine.node} already: {who or 'it does not say which'}",
            f"choose another --name; or `k8snetlab node leave` there (a machine that died is forgotten after"
            f" {self._duration} s)",
        )

    def _is_ours(self, value: bytes) -> bool:
        return leases.holder_of(value).machine == self._identity

    async def _drain(self, name: str) -> None:
        """Ends the pods that the node has now; the scheduler binds no more to it."""
        await self._cluster.edit(self._cluster.current(Node, name), _cordoned)
        until, doomed = time.monotonic() + DRAIN, {pod.metadata.uid for pod in self._pods_of(name)}
        while pods := [pod for pod in self._pods_of(name) if pod.metadata.uid in doomed]:
            late = time.monotonic() > until
            for pod in pods:
                if late or not pod.metadata.deletionTimestamp:
                    with contextlib.suppress(NotFoundError):
                        await self._cluster.delete(pod, force=late)
            await asyncio.sleep(0.05)

    def _pods_of(self, name: str) -> list[Pod]:
        return list(self._cluster.snapshot.select(Pod, pods_by_node, name).values())

    def _say(self, refusal: K8sNetLabError | None) -> None:
        if refusal and (self._refusal is None or refusal.message != self._refusal.message):
            log.warning("%s", refusal.message)
        self._refusal = None if isinstance(refusal, StoreError) else refusal
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()


def _cordoned(node: Node) -> Node:
    """As it is while its machine leaves. A silent store may still write this later: it says whose doing it is."""
    if node.spec.unschedulable:
        return node
    annotations = {**node.metadata.annotations, LEAVING: "true"}
    metadata = replace(node.metadata, annotations=annotations)
    return replace(node, metadata=metadata, spec=replace(node.spec, unschedulable=True))
