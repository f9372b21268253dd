"""Tells what happens as Events: in batches, without delaying the caller, and within limits that no flood exceeds.

Source: client-go tools/record (EventSourceObjectSpamFilter: 25 at once and then one in 5 minutes for each source and
object; a full queue drops), and kube-apiserver's lease manager for Events (--event-ttl, reuse of leases).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Collection
from datetime import UTC, datetime

import msgspec

from k8snetlab.api.events import Event, by_object
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import encode, store_key
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.controllers import identity
from k8snetlab.controllers.correlation import Note, correlated
from k8snetlab.errors import K8sNetLabError, NotFoundError
from k8snetlab.store import protocol
from k8snetlab.store.informer import Informer

log = logging.getLogger(__name__)
FORMAT = "%Y-%m-%dT%H:%M:%SZ"
TTL = 3600
"""Seconds that an Event is kept after it last happened."""
REUSE = 60.0
"""Seconds for which one lease of the store serves new Events."""
BURST, REFILL = 25, 300.0
"""Notes that one source may make of one object at once; one more is allowed after each REFILL seconds."""
BUCKETS = 4096
QUEUE, BATCH, PAUSE = 1000, 200, 0.2
"""Notes that may wait, those written in one go, and the seconds between two writes."""
LIMIT = 2000
"""Events kept at most; the oldest go first."""


class EventRecorder:
    """Takes notes in the thread of the loop and writes them a moment later. What cannot be written is dropped: an Event
    is worth less than the work it tells of."""

    def __init__(self, store: protocol.Store, informer: Informer) -> None:
        self._store, self._informer = store, informer
        self._buckets: OrderedDict[tuple[str, ...], _Bucket] = OrderedDict()
        self._waiting: list[tuple[Note, int]] = []
        self._task: asyncio.Task[None] | None = None
        self._lease, self._granted = 0, 0.0
        self._last = 0
        self.dropped = 0
        """Notes that came while the queue was full."""

    def record(self, note: Note) -> None:
        """Never waits and never fails."""
        bucket = self._buckets.setdefault(note.key, _Bucket())
        self._buckets.move_to_end(note.key)
        if len(self._buckets) > BUCKETS:
            self._buckets.popitem(last=False)
        what = (note.type, note.reason, note.message)
        if len(self._waiting) >= QUEUE or not bucket.take(time.monotonic()):
            self.dropped += len(self._waiting) >= QUEUE
            if what in bucket.skipped or len(bucket.skipped) < BURST:
                bucket.skipped[what] += 1
            return
        self._waiting.append((note, 1 + bucket.skipped.pop(what, 0)))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._write_all(), name="events")

    async def close(self) -> None:
        """What waits is written first, if the store takes it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        batch, self._waiting = self._waiting, []
        with contextlib.suppress(Exception):
            await self._write(batch)

    async def _write_all(self) -> None:
        while self._waiting:
            await asyncio.sleep(PAUSE)
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            try:
                await self._write(batch)
            except K8sNetLabError as error:
                log.info("%d events were not stored: %s", len(batch), error.message)
            except Exception:
                log.exception("%d events were not stored", len(batch))

    async def _write(self, batch: list[tuple[Note, int]]) -> None:
        if not batch:
            return
        before = self._informer.snapshot
        touched: dict[str, Event] = {}
        fresh: dict[tuple[str, ...], dict[Key, Event]] = {}
        for note, times in batch:
            told = fresh.setdefault(note.about, {})
            known = {**before.select(Event, by_object, note.about), **told}.values()
            # Names tell Events of one object apart by their time, so no two may have the same.
            self._last = max(time.time_ns(), self._last + 1)
            event = correlated(note, known, _now(), self._last, times)
            if not event.metadata.uid:
                event = _with(event, uid=identity.uid(event, before.revision))
            touched[store_key(event)] = told[event.key] = event
        lease = await self._leased()
        writes: list[protocol.StoreWrite] = list(_oldest(before, touched.values()))
        made: dict[bytes, Object] = {}
        for key, event in touched.items():
            stored = before.get(Event, event.name, event.namespace)
            value = encode(_with(event, resourceVersion=""))
            made[value] = event
            if stored is None:
                writes.append(protocol.Create(key, value, lease))
            else:
                writes.append(protocol.Update(key, value, int(stored.metadata.resourceVersion or 0), lease))
        results = await self._store.write_many(writes)
        done = [result for result in results if isinstance(result, protocol.Event)]
        self._informer.apply_local(*done, made=made)
        if any(isinstance(result, NotFoundError) for result in results):
            self._lease = 0  # a store that came back without its data knows no lease of ours

    async def _leased(self) -> int:
        if not self._lease or time.monotonic() - self._granted > REUSE:
            self._lease, self._granted = await self._store.grant(TTL + int(REUSE)), time.monotonic()
        return self._lease


class _Bucket:
    """A token bucket. `skipped` counts what was not written, by type, reason and message, to be counted later."""

    __slots__ = ("_at", "_tokens", "skipped")

    def __init__(self) -> None:
        self._tokens, self._at = float(BURST), 0.0
        self.skipped: Counter[tuple[str, str, str]] = Counter()

    def take(self, now: float) -> bool:
        self._tokens = min(BURST, self._tokens + (now - self._at) / REFILL)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _oldest(before: Snapshot, touched: Collection[Event]) -> list[protocol.Delete]:
    """The Events that are too many, or too old (those that others have written have no lease)."""
    written = {event.key for event in touched}
    others = [event for key, event in before.all(Event).items() if key not in written]
    excess = max(0, len(others) + len(written) - LIMIT)
    if excess:
        others.sort(key=lambda event: event.seen)
    ended = datetime.fromtimestamp(time.time() - TTL - REUSE, UTC).strftime(FORMAT)
    return [protocol.Delete(store_key(e)) for number, e in enumerate(others) if number < excess or e.seen < ended]


def _with(event: Event, **metadata: str) -> Event:
    return msgspec.structs.replace(event, metadata=msgspec.structs.replace(event.metadata, **metadata))


def _now() -> str:
    return datetime.now(UTC).strftime(FORMAT)
