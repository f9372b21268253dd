"""The store in the daemon itself: SQLite with etcd's semantics."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from k8snetlab.errors import CompactedError, K8sNetLabError, NotFoundError, StoreError
from k8snetlab.store.database import Database
from k8snetlab.store.protocol import (
    Create,
    DataLostError,
    Delete,
    Entry,
    Event,
    Health,
    Listing,
    StoreWrite,
    Update,
    refusal,
)

log = logging.getLogger(__name__)

_COLUMNS = "key, value, created, revision, lease"
_LAST_CHARACTER = "\U0010ffff"
_AT_ONCE = 500
"""Keys that one query asks for: any SQLite takes 999 values."""

Events: TypeAlias = list[Event]


class EmbeddedStore:
    """A Store in the SQLite file `path` (":memory:": in no file), for one asyncio loop of one process.

    Made inside the running loop. `history` is the number of revisions that watches and lists may go back; `clock`
    gives the seconds by which leases expire. A re-opened store gives every lease its whole time again, as etcd does
    after a change of leader. Raises StoreError when the file cannot be used or another process holds it.
    """

    def __init__(self, path: Path | str, *, history: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._history = history
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._watchers: set[_Watcher] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._db = Database(path)
        floor, self._compacted = self._db.rows("SELECT revision, compacted FROM floor")[0]
        self._revision: int = self._db.rows("SELECT MAX(?, COALESCE(MAX(revision), 0)) FROM kv", floor)[0][0]
        self._leases = {lease: _Lease(ttl, clock() + ttl) for lease, ttl in self._db.rows("SELECT id, ttl FROM lease")}
        self._set_timer()

    async def get(self, key: str) -> Entry | None:
        return self._current(key)

    async def list(self, prefix: str, revision: int = 0) -> Listing:
        if revision > self._revision:
            raise StoreError(f"revision {revision} has not happened yet: the store is at {self._revision}")
        if revision and revision < self._compacted:
            raise self._compacted_error(revision)
        revision = revision or self._revision
        rows = self._db.rows(
            f"SELECT {_COLUMNS} FROM kv WHERE value IS NOT NULL AND revision IN ("
            " SELECT MAX(revision) FROM kv WHERE key >= ? AND key < ? AND revision <= ? GROUP BY key) ORDER BY key",
            prefix, prefix + _LAST_CHARACTER, revision,
        )  # fmt: skip
        return Listing(tuple(Entry(*row) for row in rows), revision)

    async def newest(self, prefix: str) -> tuple[int, int]:
        entries = (await self.list(prefix)).entries
        return len(entries), max((entry.mod_revision for entry in entries), default=0)

    async def create(self, key: str, value: bytes, lease: int = 0) -> Entry:
        return (await self._write(Create(key, value, lease))).entry

    async def update(self, key: str, value: bytes, mod_revision: int, lease: int = 0) -> Entry:
        return (await self._write(Update(key, value, mod_revision, lease))).entry

    async def delete(self, key: str, mod_revision: int | None = None) -> int:
        return (await self._write(Delete(key, mod_revision))).entry.mod_revision

    async def write_many(self, writes: Sequence[StoreWrite]) -> Sequence[Event | K8sNetLabError]:
        results: list[Event | K8sNetLabError] = []
        with self._transaction() as events:
            held = self._held([write.key for write in writes])
            for write in writes:
                try:
                    event = self._perform(write, held.get(write.key))
                except StoreError:
                    raise
                except K8sNetLabError as refusal:
                    results.append(refusal)
                else:
                    results.append(event)
                    events.append(event)
                    held[write.key] = event.entry if event.type == "put" else None
        self._compact_history()
        return results

    async def write_together(self, writes: Sequence[StoreWrite]) -> Sequence[Event]:
        with self._transaction() as events:
            events += [self._perform(write, self._current(write.key)) for write in writes]
        self._compact_history()
        return tuple(events)

    async def watch(self, prefix: str, revision: int) -> AsyncGenerator[tuple[Event, ...], None]:
        if revision < self._compacted or revision > self._revision:
            raise self._compacted_error(revision)
        rows = self._db.rows(
            f"SELECT {_COLUMNS} FROM kv WHERE revision > ? AND key >= ? AND key < ? ORDER BY revision",
            revision, prefix, prefix + _LAST_CHARACTER,
        )  # fmt: skip
        watcher = _Watcher(prefix, [_event(row) for row in rows])
        self._watchers.add(watcher)
        try:
            while True:
                if self._closed:
                    raise StoreError(f"the store {self._path} was closed")
                if watcher.overrun:
                    raise self._compacted_error(revision)
                if watcher.pending:
                    batch, watcher.pending = tuple(watcher.pending), []
                    revision = batch[-1].entry.mod_revision
                    yield batch
                else:
                    watcher.wake.clear()
                    await watcher.wake.wait()
        finally:
            self._watchers.discard(watcher)

    async def grant(self, ttl: int) -> int:
        ttl = max(ttl, 1)
        with self._transaction():
            lease = self._db.execute("INSERT INTO lease (ttl) VALUES (?)", ttl)
        self._leases[lease] = _Lease(ttl, self._clock() + ttl)
        self._set_timer()
        return lease

    async def keep_alive(self, lease: int) -> int:
        held = self._live_lease(lease)
        held.deadline = self._clock() + held.ttl
        return held.ttl

    async def time_to_live(self, lease: int) -> float:
        return self._live_lease(lease).deadline - self._clock()

    async def revoke(self, lease: int) -> None:
        self._live_lease(lease)
        self._end_lease(lease)

    def expire_leases(self) -> None:
        """End every lease whose time has passed by `clock`; the store's own timer does so when one is due."""
        now = self._clock()
        for lease in [lease for lease, held in self._leases.items() if held.deadline <= now]:
            self._end_lease(lease)
        self._set_timer()

    async def compact(self, revision: int) -> None:
        """Forget what was overwritten or deleted up to `revision`; older watches and lists get CompactedError."""
        if revision > self._revision or revision <= self._compacted:
            raise CompactedError(
                f"the store cannot be compacted to revision {revision}: it is compacted to {self._compacted} already"
                f" and at {self._revision}"
            )
        self._compact(revision)

    def health(self) -> Health:
        return Health(not self._closed, 0.0, "closed" if self._closed else "")

    async def close(self) -> None:
        """Watches that still run raise StoreError."""
        self._closed = True
        if self._timer:
            self._timer.cancel()
        for watcher in self._watchers:
            watcher.wake.set()
        self._db.close()

    async def _write(self, write: StoreWrite) -> Event:
        with self._transaction() as events:
            event = self._perform(write, self._current(write.key))
            events.append(event)
        self._compact_history()
        return event

    def _perform(self, write: StoreWrite, have: Entry | None) -> Event:
        """`have` is what the key holds."""
        if refused := refusal(write, have):
            raise refused
        if isinstance(write, Delete):
            return Event("delete", self._append(write.key, None, 0, 0))
        return Event("put", self._append(write.key, write.value, have.create_revision if have else 0, write.lease))

    def _append(self, key: str, value: bytes | None, created: int, lease: int) -> Entry:
        if lease:
            self._live_lease(lease)
        revision = self._revision + 1
        if value is not None:
            created = created or revision
        self._db.execute("INSERT INTO kv VALUES (?, ?, ?, ?, ?)", revision, key, created, lease, value)
        self._revision = revision
        return Entry(key, value or b"", created, revision, lease)

    @contextmanager
    def _transaction(self) -> Iterator[Events]:
        """All or nothing; the events put into the list go to the watchers when it is done."""
        before = self._revision
        events: Events = []
        try:
            with self._db.transaction():
                yield events
        except BaseException:
            self._revision = before
            raise
        for watcher in self._watchers:
            watcher.take(events, self._history)

    def _compact_history(self) -> None:
        if self._revision - self._compacted <= self._history + self._history // 10:
            return
        try:
            self._compact(self._revision - self._history)
        except StoreError as error:
            log.warning("old revisions could not be compacted, will try again: %s", error)

    def _compact(self, revision: int) -> None:
        old = self._compacted
        with self._transaction():
            self._db.execute("UPDATE floor SET revision = ?, compacted = ?", self._revision, revision)
            self._db.execute(
                "DELETE FROM kv WHERE key IN (SELECT key FROM kv WHERE revision > ? AND revision <= ?) AND EXISTS"
                " (SELECT 1 FROM kv AS newer"
                " WHERE newer.key = kv.key AND newer.revision > kv.revision AND newer.revision <= ?)",
                old, revision, revision,
            )  # fmt: skip
            self._db.execute("DELETE FROM kv WHERE revision <= ? AND revision > ? AND value IS NULL", revision, old)
        self._compacted = revision

    def _end_lease(self, lease: int) -> None:
        with self._transaction() as events:
            rows = self._db.rows("SELECT DISTINCT key FROM kv WHERE lease = ? ORDER BY key", lease)
            for (key,) in rows:
                have = self._current(key)
                if have and have.lease == lease:
                    events.append(Event("delete", self._append(key, None, 0, 0)))
            self._db.execute("DELETE FROM lease WHERE id = ?", lease)
        del self._leases[lease]
        self._compact_history()

    def _live_lease(self, lease: int) -> _Lease:
        held = self._leases.get(lease)
        if held is None or held.deadline <= self._clock():
            raise NotFoundError(f"lease {lease} does not exist or has expired", "ask for a new one")
        return held

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._leases:
            due = min(held.deadline for held in self._leases.values())
            self._timer = self._loop.call_later(max(0.0, due - self._clock()), self._timer_rings)

    def _timer_rings(self) -> None:
        try:
            self.expire_leases()
        except StoreError as error:
            log.error("leases could not be ended, will try again: %s", error)
            self._timer = self._loop.call_later(1.0, self._timer_rings)

    def _current(self, key: str) -> Entry | None:
        rows = self._db.rows(f"SELECT {_COLUMNS} FROM kv WHERE key = ? ORDER BY revision DESC LIMIT 1", key)
        return Entry(*rows[0]) if rows and rows[0][1] is not None else None

    def _held(self, keys: Sequence[str]) -> dict[str, Entry | None]:
        """`_current` of many keys, without those that were never written."""
        held: dict[str, Entry | None] = {}
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            rows = self._db.rows(
                # Of a group's columns SQLite answers those of the row that has the maximum.
                f"SELECT key, value, created, MAX(revision), lease FROM kv WHERE key IN ({','.join('?' * len(some))})"
                " GROUP BY key",
                *some,
            )
            held.update((row[0], Entry(*row) if row[1] is not None else None) for row in rows)
        return held

    def _compacted_error(self, revision: int) -> CompactedError:
        if revision > self._revision:
            return DataLostError(f"the store is at revision {self._revision}, before {revision}: list again")
        return CompactedError(f"what the store held at revision {revision} is no longer kept: list again")


class _Lease:
    """`deadline` is by the store's clock."""

    def __init__(self, ttl: int, deadline: float) -> None:
        self.ttl = ttl
        self.deadline = deadline


class _Watcher:
    """Events for one running watch that its consumer has not taken yet."""

    def __init__(self, prefix: str, pending: Events) -> None:
        self.prefix = prefix
        self.pending = pending
        self.overrun = False
        self.wake = asyncio.Event()

    def take(self, events: Events, limit: int) -> None:
        mine = [event for event in events if event.entry.key.startswith(self.prefix)]
        if not mine:
            return
        self.pending += mine
        if len(self.pending) > max(limit, len(mine)):
            self.pending = []
            self.overrun = True
        self.wake.set()


def _event(row: tuple[Any, ...]) -> Event:
    key, value, created, revision, lease = row
    return Event("delete" if value is None else "put", Entry(key, value or b"", created, revision, lease))
