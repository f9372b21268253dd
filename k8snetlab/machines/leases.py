"""What nodes hold in the store by lease: their subnets, their life, and the right to run the controllers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from functools import partial

import msgspec

from k8snetlab.api import leases
from k8snetlab.api.core import Node
from k8snetlab.api.lab import Lab
from k8snetlab.api.machines import is_machine
from k8snetlab.api.reading import LAST_RESERVED
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.admitted import now
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.controllers import node_lifecycle
from k8snetlab.errors import ConflictError, K8sNetLabError, NotFoundError, StoreError
from k8snetlab.machines.election import DURATION, Election
from k8snetlab.machines.following import RETRY, Followed
from k8snetlab.machines.leased import SOON
from k8snetlab.machines.registration import FOLD, HEARTBEAT, Registration
from k8snetlab.machines.subnet_files import SubnetFiles
from k8snetlab.machines.subnets import SubnetManager, lease_of
from k8snetlab.messages.store import SubnetLease
from k8snetlab.render.subnet_env import subnet_env, text
from k8snetlab.state.ledger import Ledger
from k8snetlab.state.machine import Machine
from k8snetlab.state.paths import LabPaths
from k8snetlab.store.protocol import Store

log = logging.getLogger(__name__)
LOSING = 10.0
"""Seconds that a store may take until a lease is gone, or is there again."""
SETTLE = 1.0
"""Seconds for which a key must be gone before its node counts as lost: one that lives puts it back at once."""


class Leases:
    """In a lab of machines: registers this machine, stands for leader and, as leader, manages the nodes' lifecycle. In
    a lab of namespaces: mirrors what the controllers gave the nodes into leases, and is the leader.

    `heartbeat` and `election` are seconds after which a dead node, a dead leader is one no more.
    """

    def __init__(
        self,
        store: Store,
        cluster: Cluster,
        machine: Machine | None,
        paths: LabPaths,
        ledger: Ledger,
        *,
        heartbeat: int = HEARTBEAT,
        election: int = DURATION,
    ) -> None:
        self._store, self._cluster = store, cluster
        self._wakers: list[Callable[[], None]] = []
        self._network = Followed(store, leases.NETWORK, self._wake)
        self._living = Followed(store, leases.KUBERNETES, self._wake)
        self._files = SubnetFiles(paths, ledger)
        self._subnets = SubnetManager(store, self._network)
        self._heartbeat = heartbeat
        self._trusted = time.monotonic()
        self._changed = asyncio.Event()
        self._mirrored, self._turn = Snapshot(), asyncio.Event()
        """What of the mirror has its end; only a lab of namespaces has one."""
        self.lost: frozenset[str] = frozenset()
        """Nodes whose leases nobody renews, from the beginning on; `lose` changes that later."""
        self._without: frozenset[str] | None = None
        """The nodes that the mirror has left out, as the store has it."""
        self._wakers.append(self._changed.set)
        self._registration: Registration | None = None
        self._election: Election | None = None
        if machine is not None:
            self._registration = Registration(
                store, cluster, machine, self._subnets, self._living, files=self._files, duration=heartbeat
            )
            self._election = Election(store, self._living, machine.node, election)
            self._wakers += [self._registration.wake, self._election.wake]

    @property
    def leader(self) -> bool:
        """Whether the controllers run here."""
        return self._election is None or self._election.leader

    @property
    def leading_node(self) -> str:
        """The node whose machine runs the controllers, as far as the store has told; "" for none."""
        entry = self._living.entries.get(leases.LEADER)
        return leases.holder_of(entry.value).identity.rpartition("_")[0] if entry else ""

    @property
    def problems(self) -> dict[str, str]:
        """What `status` has to say: a sentence for each node, or other matter."""
        return dict(self._registration.problems if self._registration else self._subnets.problems)

    async def leading(self) -> None:
        """Waits until this is the leader."""
        if self._election is not None:
            await self._election.until(True)

    async def while_leading(self, work: Callable[[], Awaitable[None]]) -> None:
        """Runs `work` for as long as this is the leader, and again whenever it is; what `work` raises is raised."""
        await (work() if self._election is None else self._election.during(work))

    async def registered(self) -> Node | None:
        """This machine's Node once it is registered; None at once in a lab of namespaces. Raises ConflictError when
        another machine has the name or the address, or no subnet is left, InputError when it can be no Node."""
        return await self._registration.registered() if self._registration else None

    async def leave(self) -> None:
        """Takes this machine's node out of the lab: pods, Node, leases. Raises StoreError when the store does not
        answer; it is in the lab then as before."""
        if self._registration is not None:
            await self._registration.leave()

    async def mirrored(self, seconds: float) -> bool:
        """Waits until the store has the leases that follow from the Nodes as they are now, for `seconds` at most;
        whether it has. In a lab of machines, which hold their own, True at once."""
        wanted = self._cluster.snapshot
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._registration is None and not _same_leases(self._mirrored, wanted):
                    self._turn.clear()
                    await self._turn.wait()
                return True
        return False

    async def lose(self, nodes: frozenset[str]) -> None:
        """Lets the leases of these nodes end, and of no others; returns once the store and the Nodes have it, or after
        some seconds where the store does not answer. In a lab of namespaces."""
        if nodes == self.lost:
            return
        self.lost = nodes
        self._wake()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOSING):
                while self._without != nodes:
                    self._turn.clear()
                    await self._turn.wait()

    @property
    def work(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """What is to run for ever, by name: registers this machine once the Lab is there, keeps its leases, manages the
        nodes' lifecycle."""
        work = {"leases of subnets": self._network.run, "changes of nodes": self._follow_objects}
        if self._registration is None or self._election is None:
            return work | {"mirror of subnets": self._mirror}
        return work | {
            "leases of nodes": self._living.run,
            "registration": self._registration.run,
            "election": self._election.run,
            "node lifecycle": partial(self.while_leading, self._lead),
        }

    def _wake(self) -> None:
        for wake in self._wakers:
            wake()

    async def _follow_objects(self) -> None:
        before: Snapshot | None = None
        async for snapshot in self._cluster.changes():
            if any(True for kind in (Lab, Node) for _ in snapshot.changes(kind, before)):
                self._wake()
            before = snapshot

    async def _pause(self, seconds: float) -> None:
        """Waits for a change, or for `seconds`; what changes in quick succession is one change."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
            await asyncio.sleep(FOLD)
        self._changed.clear()

    # --- in a lab of namespaces ---------------------------------------------------------------------------------------

    async def _mirror(self) -> None:
        values: dict[str, _Mirrored] = {}
        lab: Lab | None = None
        while True:
            snapshot = await self._cluster.whole()
            if not snapshot.all(Lab) or self._cluster.informer.lost or self._network.listed is None:
                await self._pause(RETRY)
                continue
            if snapshot.lab is not lab:
                lab, values = snapshot.lab, {}
            nodes = [node for node in snapshot.all(Node).values() if node.podCIDRs]
            values = {
                node.name: old if (old := values.get(node.name)) and old.node is node else _Mirrored.of(lab, node)
                for node in nodes
            }
            self._files.write({name: one.env for name, one in values.items()})
            lost = self.lost
            try:
                await self._subnets.write_config(snapshot)
                wanted = {name: (one.key, one.value) for name, one in values.items() if name not in lost}
                settled = await self._subnets.mirror(snapshot, wanted)
                await self._tell_lost(nodes, lost)
            except StoreError:
                await self._pause(RETRY)
                continue
            if settled:
                self._mirrored, self._without = snapshot, lost
                self._turn.set()
            await self._pause(self._subnets.due if settled else SOON)

    async def _tell_lost(self, nodes: Iterable[Node], lost: Collection[str]) -> None:
        """As the leader of a lab of machines: the Node says that its lease has ended, or no more. Raises StoreError."""
        for node in nodes:
            if (node.name in lost) == node.network_available:
                ended = partial(node_lifecycle.without_lease, now=now())
                change = ended if node.name in lost else node_lifecycle.leased_again
                with contextlib.suppress(NotFoundError, ConflictError):
                    await self._cluster.edit(node, change)

    # --- in a lab of machines, as leader ------------------------------------------------------------------------------

    async def _lead(self) -> None:
        self._trusted = time.monotonic()
        while True:
            try:
                await self._judge()
            except K8sNetLabError as error:
                log.warning("node lifecycle: %s", error.message)
            await self._pause(SETTLE)
            await asyncio.sleep(SETTLE / 2)

    async def _judge(self) -> None:
        """Marks nodes that send no heartbeat; their taints, and what these drive away, are the controllers'."""
        if self._cluster.informer.lost:
            self._trusted = time.monotonic()
            return
        snapshot = self._cluster.snapshot
        if not snapshot.all(Lab) or snapshot.lab.metadata.deletionTimestamp:
            return
        await self._subnets.write_config(snapshot)
        machines = [node for node in snapshot.all(Node).values() if is_machine(node)]
        silent = {n.name for n in machines if self._is_gone(self._living, leases.NODE_LEASES + n.name)}
        unleased = {n.name for n in machines if n.podCIDRs and self._is_gone(self._network, lease_of(n))}
        moment = now()
        for obj in list(node_lifecycle.health_changes(snapshot, silent, unleased, moment)):
            with contextlib.suppress(NotFoundError):
                if isinstance(obj, Node):
                    log.warning("node %s: %s", obj.name, "; ".join(c.message for c in obj.status.conditions))
                    await self._cluster.edit(obj, partial(_judged, silent=silent, unleased=unleased, moment=moment))
                else:
                    await self._cluster.edit(obj, partial(node_lifecycle.unreachable, node=obj.spec.nodeName))

    def _is_gone(self, followed: Followed, key: str) -> bool:
        """Whether the store itself says that a key went; of one that was never seen, only after some time."""
        absent = followed.absent(key)
        if absent is None:
            return False
        seconds, deleted = absent
        return min(seconds, time.monotonic() - self._trusted) >= (SETTLE if deleted else self._heartbeat)

    # --- showing ------------------------------------------------------------------------------------------------------

    async def listing(self) -> list[SubnetLease]:
        """Of every node with pod subnets, without its subnet.env."""
        snapshot = self._cluster.snapshot
        found = []
        nodes = [node for node in snapshot.all(Node).values() if node.podCIDRs]
        held = {entry.lease for node in nodes if (entry := self._network.entries.get(lease_of(node)))}
        left = dict(zip(held, await asyncio.gather(*map(self._left, held)), strict=True))
        for node in nodes:
            key = lease_of(node)
            entry = self._network.entries.get(key)
            lease = leases.subnet_lease(key, entry.value) if entry else None
            found.append(
                SubnetLease(
                    node=node.name,
                    subnets=node.podCIDRs,
                    key=key,
                    holder=",".join(lease.addresses) if lease else "",
                    left=left.get(entry.lease) if entry else None,
                )
            )
        return found

    async def _left(self, lease: int) -> float | None:
        if not lease or not self._cluster.informer.health().healthy:
            return None
        with contextlib.suppress(StoreError, NotFoundError):
            return await self._store.time_to_live(lease)
        return None


class _Mirrored(msgspec.Struct, frozen=True):
    """What a node's lease and its subnet.env hold, for as long as the Node stays as it is."""

    node: Node
    key: str
    value: bytes
    env: str

    @staticmethod
    def of(lab: Lab, node: Node) -> _Mirrored:
        return _Mirrored(node, lease_of(node), leases.subnet_value(lab, node), text(subnet_env(lab, node)))


def _same_leases(mirrored: Snapshot, wanted: Snapshot) -> bool:
    """Whether the leases of both are the same."""
    labs = [next(iter(snapshot.all(Lab).values()), None) for snapshot in (mirrored, wanted)]
    if labs[1] is None:
        return True  # there are none without a Lab
    told = [{name: _told(node) for name, node in one.all(Node).items()} for one in (mirrored, wanted)]
    return labs[0] is not None and labs[0].spec == labs[1].spec and told[0] == told[1]


def _told(node: Node) -> tuple[object, ...]:
    """All of a node that is in its lease: each new pod changes LAST_RESERVED, which is not."""
    annotations = {key: value for key, value in node.metadata.annotations.items() if key != LAST_RESERVED}
    return node.podCIDRs, node.addresses, annotations


def _judged(node: Node, silent: set[str], unleased: set[str], moment: str) -> Node:
    new = node_lifecycle.silent_node(node, moment) if node.name in silent else node
    return node_lifecycle.without_lease(new, moment) if node.name in unleased else new
