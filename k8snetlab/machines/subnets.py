"""Leases of pod subnets in the store, as flannel's etcd subnet manager keeps them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping

from k8snetlab.api import leases
from k8snetlab.api.addressing import IPNetwork, parse_networks
from k8snetlab.api.core import Node
from k8snetlab.api.leases import SubnetLease
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers import subnets
from k8snetlab.errors import AlreadyExistsError, ConflictError, NotFoundError
from k8snetlab.machines.following import Followed
from k8snetlab.machines.leased import Holding, Leased
from k8snetlab.store.protocol import Store

log = logging.getLogger(__name__)


class SubnetManager:
    """Holds leases for nodes of this machine: `mirror` for what controllers gave them, `acquire` for what is free.

    `problems` has a sentence for each node, or key, with which something is wrong.
    """

    def __init__(self, store: Store, followed: Followed) -> None:
        self._store, self._followed = store, followed
        self._mine: set[str] = set()
        self._leased: Leased | None = None
        self.problems: dict[str, str] = {}

    @property
    def due(self) -> float:
        """Seconds until the next renewal."""
        return self._leased.due if self._leased else 0.0

    @property
    def ready(self) -> bool:
        """Whether the store has said what it holds."""
        return self._followed.listed is not None

    @property
    def leases(self) -> list[SubnetLease]:
        """All leases in the store, whoever holds them."""
        found = (leases.subnet_lease(entry.key, entry.value) for entry in self._followed.entries.values())
        return [lease for lease in found if lease is not None]

    async def write_config(self, snapshot: Snapshot) -> None:
        """Makes flannel's configuration what the Lab says."""
        value = leases.network_config(snapshot.lab)
        entry = self._followed.entries.get(leases.CONFIG)
        if entry is not None and entry.value == value:
            return
        with contextlib.suppress(AlreadyExistsError, ConflictError):  # another was quicker: the watch will tell
            if entry is None:
                await self._store.create(leases.CONFIG, value)
            else:
                await self._store.update(leases.CONFIG, value, entry.mod_revision)

    async def mirror(self, snapshot: Snapshot, wanted: Mapping[str, tuple[str, bytes]]) -> bool:
        """Holds a lease for each node; `wanted` has the lease's key and value by the node's name. False where it is to
        be called again soon."""
        found = self.leases
        addresses = {a for name in wanted if (node := snapshot.get(Node, name)) for a in node.addresses}
        self._mine = {lease.key for lease in found if addresses.intersection(lease.addresses)}
        holding = await self._lease(snapshot).hold(dict(wanted.values()))
        self.problems = {}
        for name, (key, _) in wanted.items():
            if key in holding.others:
                self.problems[name] = self._taken(key)
            if key in holding.lost:
                log.warning("%s: its lease %s was %s", name, key, self._fate(key, key, holding))
        return not holding.pending

    async def acquire(self, snapshot: Snapshot, name: str, described: Callable[[list[IPNetwork]], Node]) -> Node | None:
        """The Node `name` with the subnets that it has leased; None where it is to be called again soon.

        `described` makes the Node, given its subnets. Raises ConflictError when no subnet is free.
        """
        found = self.leases
        own = subnets.own_leases(snapshot, name, described([]).addresses, found)
        chosen = subnets.choose(snapshot, name, own, found)
        if chosen is None:
            raise ConflictError(
                f"no pod subnet is left for {name}: all of {snapshot.lab.spec.podCIDR} are leased",
                "`k8snetlab node leave` of a node that is gone for good frees its subnet",
            )
        key, node = leases.subnet_key(chosen), described(chosen)
        self._mine = set(own)
        known = key in own and self._leased is not None
        holding = await self._lease(snapshot).hold({key: leases.subnet_value(snapshot.lab, node)})
        for gone in holding.lost:
            log.warning("%s: its lease %s was %s", name, gone, self._fate(gone, key, holding))
        if holding.pending or holding.others:
            return None
        if not known and not await self._is_oldest(key, chosen):
            await self._lease(snapshot).hold({})
            return None
        for stale in [k for k in own if k != key and k in self._followed.entries]:
            log.info("%s: lets go of its former lease %s", name, stale)
            with contextlib.suppress(NotFoundError, ConflictError):
                await self._store.delete(stale, self._followed.entries[stale].mod_revision)
        self.problems = {}
        return node

    async def release(self) -> None:
        """Gives the leases back."""
        if self._leased is not None:
            await self._leased.release()

    async def _is_oldest(self, key: str, chosen: list[IPNetwork]) -> bool:
        """Whether no older lease has some of the same addresses, as one of a dual-stack pair, or of a subnet of another
        length, may have. Of two machines that see each other's leases, the one with the later lease gives it up."""
        entries = (await self._store.list(leases.SUBNETS)).entries
        mine = next((entry for entry in entries if entry.key == key), None)
        return mine is not None and not any(
            entry.create_revision < mine.create_revision
            and (lease := leases.subnet_lease(entry.key, entry.value)) is not None
            and any(a.version == b.version and a.overlaps(b) for a in lease.subnets for b in chosen)
            for entry in entries
            if entry.key != key
        )

    def _lease(self, snapshot: Snapshot) -> Leased:
        ttl = snapshot.lab.spec.network.leaseTTL
        if self._leased is None or self._leased.ttl != ttl:
            # The keys go over to a lease of the new length; the old one ends without any.
            self._leased = Leased(self._store, self._followed, ttl, lambda key, _: key in self._mine)
        return self._leased

    def _taken(self, key: str) -> str:
        return f"the lease of its pod subnet, {key}, is held by {self._holder(key)}; delete it if it is nobody's"

    def _fate(self, gone: str, wanted: str, holding: Holding) -> str:
        """What became of a lease that this machine held, now that it has asked for `wanted`."""
        if gone in holding.others:
            return f"taken by {self._holder(gone)}"
        if gone != wanted:
            return f"taken by {self._holder(gone) or 'someone'}; it takes {wanted}"
        return "deleted, or has expired; it is taken again"

    def _holder(self, key: str) -> str:
        """The addresses of another holder of a lease, "" where there is none."""
        entry = self._followed.entries.get(key)
        lease = leases.subnet_lease(key, entry.value) if entry and key not in self._mine else None
        return ", ".join(lease.addresses) or "someone" if lease else ""


def lease_of(node: Node) -> str:
    """The key of the lease that a node with pod subnets has, or ought to have."""
    return leases.subnet_key([subnet for cidr in node.podCIDRs for subnet in parse_networks(cidr)])
