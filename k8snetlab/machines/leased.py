"""Keys that are in the store for as long as this process renews a lease."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping

import msgspec

from k8snetlab.errors import AlreadyExistsError, ConflictError, K8sNetLabError, NotFoundError
from k8snetlab.machines.following import Followed
from k8snetlab.store.protocol import Create, Delete, Entry, Store, StoreWrite, Update

SOON = 0.05
"""Seconds after which a race that was lost is looked at again, where nothing tells of its end before."""


class Holding(msgspec.Struct, frozen=True):
    """The keys that were held and are no more (deleted or taken by someone, or gone with the lease); and of those that
    are wanted now: what another holds, and what is not held yet: a race was lost, look again."""

    lost: frozenset[str]
    others: frozenset[str]
    pending: frozenset[str]


class Leased:
    """The keys that `hold` was last told to keep, all on one lease of `ttl` seconds.

    `own(key, value)` tells whether what stands at a key was written by or for this process: an older run of it left
    that behind, and it is taken over. What others wrote is never changed.
    """

    def __init__(self, store: Store, followed: Followed, ttl: int, own: Callable[[str, bytes], bool]) -> None:
        self._store, self._followed, self._own = store, followed, own
        self.ttl = ttl
        self._lease = 0
        self._until = 0.0
        self._due = 0.0
        self._kept: set[str] = set()

    @property
    def left(self) -> float:
        """Seconds for which the store keeps the keys at least, without another renewal."""
        return max(0.0, self._until - time.monotonic()) if self._kept else 0.0

    @property
    def due(self) -> float:
        """Seconds until the next renewal: a third of the time after the last one."""
        return max(0.0, self._due - time.monotonic()) if self._lease else 0.0

    async def hold(self, wanted: Mapping[str, bytes]) -> Holding:
        """Renews the lease where that is due, and makes the store hold exactly these keys of ours.

        Raises StoreError when the store does not answer: the keys are held as long as `left` says.
        """
        await self._renew()
        entries = self._followed.entries
        lost = {key for key in self._kept if not self._holds(entries.get(key))}
        others: set[str] = set()
        writes: list[StoreWrite] = []
        for key, value in wanted.items():
            entry = entries.get(key)
            if entry is None:
                writes.append(Create(key, value, self._lease))
            elif not self._own(key, entry.value):
                others.add(key)
            elif entry.value != value or not self._holds(entry):
                writes.append(Update(key, value, entry.mod_revision, self._lease))
            else:
                self._kept.add(key)
        for key in self._kept - wanted.keys():
            entry = entries.get(key)
            if entry is not None and self._holds(entry):
                writes.append(Delete(key, entry.mod_revision))
        self._kept = {key for key in self._kept & wanted.keys() if self._holds(entries.get(key))}
        if writes:
            await self._write(writes)
        return Holding(frozenset(lost), frozenset(others), frozenset(wanted.keys() - self._kept - others))

    async def release(self) -> None:
        """Ends the lease: its keys go at once."""
        lease, self._lease = self._lease, 0
        self._kept.clear()
        if lease:
            with contextlib.suppress(NotFoundError):
                await self._store.revoke(lease)

    async def _write(self, writes: list[StoreWrite]) -> None:
        try:
            results = await self._store.write_many(writes)
        except NotFoundError:
            self._lease = 0  # it ended between renewal and write
            return
        self._followed.note(results)
        for write, result in zip(writes, results, strict=True):
            if isinstance(result, NotFoundError) and isinstance(write, Create):
                self._lease = 0
            elif isinstance(result, K8sNetLabError):
                if not isinstance(result, AlreadyExistsError | ConflictError | NotFoundError):
                    raise result
            elif not isinstance(write, Delete):
                self._kept.add(write.key)

    def _holds(self, entry: Entry | None) -> bool:
        return entry is not None and entry.lease == self._lease

    async def _renew(self) -> None:
        began, left = time.monotonic(), self.ttl
        if self._lease and began < self._due:
            return
        if self._lease:
            try:
                left = await self._store.keep_alive(self._lease)
            except NotFoundError:
                self._lease = 0
        if not self._lease:
            began = time.monotonic()
            self._lease = await self._store.grant(self.ttl)
        self._until, self._due = began + left, began + left / 3
