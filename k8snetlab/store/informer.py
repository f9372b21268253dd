"""A Snapshot that follows a Store: list once, then watch."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Any, TypeAlias

import msgspec

from k8snetlab.api import decoding, scheme
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.api.stored import problem_of
from k8snetlab.api.taken import following
from k8snetlab.errors import CompactedError, StoreError
from k8snetlab.store.protocol import DataLostError, Entry, Event, Health, Listing, Store

log = logging.getLogger(__name__)

PREFIX = "/registry/"
FENCE = "/registry/ranges/fence"
"""The key that goes along with every write which gives an address (`cluster.fencing`)."""
_LABS = scheme.BY_KIND["Lab"].prefix
_REPORTING = tuple(resource.prefix for resource in scheme.RESOURCES if resource.type.REPORTS)
_LOST = "the store has lost its data; the last known objects are kept. `k8snetlab up` puts them back"

Begin: TypeAlias = Callable[[str, Callable[[], Coroutine[Any, Any, None]]], "asyncio.Task[None]"]
Change: TypeAlias = tuple[type[Object], Key, Object | None]
NOTHING: Mapping[bytes, Object] = MappingProxyType({})
Order: TypeAlias = tuple[int, str]
"""Objects stand in a Snapshot in the order of their (create_revision, store key)."""


class Informer:
    """Keeps `snapshot` current from `start` to `close`, through whatever happens to the store.

    Each object has its mod_revision as resourceVersion. A value that cannot be decoded, or holds what no object can
    (`api.stored`), is kept out (an object that was good before stays as it was), logged once and found in `problems` by
    its key until it changes. Keys of kinds that `api.scheme` does not know are passed over.
    `snapshot.revision` is the one up to which the watch has come.

    A store that comes back without its data does not empty the snapshot: `lost` is true then, and the objects stay
    until the new store holds a Lab. So `up` must write the Lab last, and go by the store, not by this snapshot.
    """

    def __init__(self, store: Store, retry: float = 1.0, begin: Begin | None = None) -> None:
        """`begin` starts the task that follows the store, under a name, and begins it again when it fails."""
        self._store = store
        self._begin = begin or (lambda name, run: asyncio.create_task(run(), name=name))
        self._retry = retry
        self._held: dict[str, _Held] = {}
        self._gone: dict[str, int] = {}
        """Keys that `apply_local` deleted, at a revision that the watch has not come to yet."""
        self._last: dict[type[Object], Order] = {}
        self._task: asyncio.Task[None] | None = None
        self._tick = asyncio.Event()
        self._problem = ""
        self._fresh = False
        """Whether the snapshot is what `start` has just listed."""
        self.snapshot = Snapshot()
        self.problems: dict[str, str] = {}
        self.lost = False
        self.fence = 0
        """The revision of FENCE, 0 for none: what was given with it, and before, is in the snapshot."""
        self.written = 0
        """The newest revision of an object that shapes the lab which `apply_local` was given."""
        self.moved = time.monotonic()
        """When an object that shapes the lab changed last (seconds, monotonic)."""

    async def start(self) -> Snapshot:
        """The first snapshot; raises StoreError when the store does not answer."""
        self._take(await self._store.list(PREFIX))
        self._fresh = True
        self._task = self._begin("informer", self._follow)
        self._task.add_done_callback(lambda _: self._wake())
        return self.snapshot

    async def close(self) -> None:
        """Iterations over `changes` end."""
        task, self._task = self._task, None
        if task:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task  # what ended it otherwise is raised here
        self._wake()

    def health(self) -> Health:
        """The store's own, or unhealthy for what keeps this informer from following it."""
        problem = _LOST if self.lost else self._problem
        health = self._store.health()
        return msgspec.structs.replace(health, healthy=False, problem=problem) if problem else health

    async def changes(
        self, reports: bool = False, revisions: bool = False, *, kinds: Collection[type[Object]] = ()
    ) -> AsyncIterator[tuple[Snapshot, Snapshot]]:
        """(the snapshot, that of the turn before) whenever objects changed, with `kinds` only when one of these did,
        with `reports` also when only Events did, with `revisions` also when only the watch has come further.

        The first turn is against an empty snapshot. Changes that come while the consumer is busy are one turn. It ends
        when the informer is closed.
        """
        previous = Snapshot()
        while self._runs():
            current = self.snapshot
            if (
                _differ(current, previous, kinds)
                or (reports and current.reports is not previous.reports)
                or (revisions and current.revision != previous.revision)
            ):
                yield current, previous
                previous = current
            else:
                await self._tick.wait()

    async def reached(self, revision: int) -> Snapshot:
        """The snapshot once the watch has delivered everything up to `revision`, that of a write below /registry/."""
        while self.snapshot.revision < revision:
            if not self._runs():
                raise StoreError("the informer was closed")
            await self._tick.wait()
        return self.snapshot

    def apply_local(self, *writes: Entry | Event, made: Mapping[bytes, Object] = NOTHING) -> Snapshot:
        """Puts in what this process has just written (an Entry, or an Event for a deletion), before the watch says so.

        In any order and any number of times: what is older than what the snapshot holds is ignored. `made` are the
        objects, as admitted, that the values were encoded from: they need not be decoded again, and share what they
        shared.
        """
        events = [Event("put", write) if isinstance(write, Entry) else write for write in writes]
        seen = self.snapshot.revision
        shaping = [event.entry for event in events if not event.entry.key.startswith(_REPORTING)]
        self.written = max([self.written, *(entry.mod_revision for entry in shaping)])
        if not self.lost:
            self._apply([event for event in events if event.entry.mod_revision > seen], seen, made)
        return self.snapshot

    def newest(self, prefix: str) -> tuple[int, int]:
        """How many keys are known below a prefix, and the revision of the last that was written, as `Store.newest`."""
        found = [held.modified for key, held in self._held.items() if key.startswith(prefix)]
        return len(found), max(found, default=0)

    async def _follow(self) -> None:
        listed, self._fresh = self._fresh, False
        while True:
            try:
                if not listed:
                    self._take(await self._store.list(PREFIX))
                    listed = True
                self._problem = ""
                async with aclosing(self._store.watch(PREFIX, self.snapshot.revision)) as batches:
                    async for events in batches:
                        if self.lost:
                            break
                        self._apply(events, events[-1].entry.mod_revision)
                listed = False
            except DataLostError as error:
                log.warning("%s", error.message)
                self.lost, listed = True, False
            except CompactedError as error:
                log.info("%s", error.message)
                listed = False
            except StoreError as error:
                self._problem = error.message
                await asyncio.sleep(self._retry)

    def _take(self, listing: Listing) -> None:
        """Makes the snapshot what was listed."""
        self.lost = self.lost or listing.revision < self.snapshot.revision
        if self.lost:
            if not any(entry.key.startswith(_LABS) for entry in listing.entries):
                self.snapshot = msgspec.structs.replace(self.snapshot, revision=listing.revision)
                return
            self.lost, self.snapshot, self.written, self.fence = False, Snapshot(), 0, 0
            for memory in (self._held, self._gone, self._last, self.problems):
                memory.clear()
        listed = {entry.key for entry in listing.entries}
        if FENCE not in listed and self.fence <= listing.revision:
            self.fence = 0
        events = [
            Event("delete", Entry(key, b"", 0, listing.revision))
            for key, held in self._held.items()
            if key not in listed and held.modified <= listing.revision
        ]
        entries = sorted(listing.entries, key=lambda entry: (entry.create_revision, entry.key))
        self._apply(events + [Event("put", entry) for entry in entries], listing.revision)

    def _apply(self, events: Iterable[Event], revision: int, made: Mapping[bytes, Object] = NOTHING) -> None:
        """Puts events into the snapshot, in order, each once; the snapshot is then at `revision`."""
        changes: list[Change] = []
        unordered: set[type[Object]] = set()
        events = list(events)
        self._note_fence(events)
        for event in events:
            key, modified = event.entry.key, event.entry.mod_revision
            held = self._held.get(key)
            known = max(self._gone.get(key, 0), held.modified if held else 0)
            if modified <= known or not (type_ := held.type if held and event.type == "delete" else _type(event)):
                continue
            created = event.entry.create_revision
            if held and (event.type == "delete" or created != held.created or type_ is not held.type):
                del self._held[key]
                if held.key:
                    changes.append((held.type, held.key, None))
                held = None
            if event.type == "delete":
                self._gone[key] = modified
                self.problems.pop(key, None)
                continue
            obj = self._object(type_, event.entry, made.get(event.entry.value))
            shown = obj.key if obj else held.key if held else None
            if obj:
                changes.append((type_, obj.key, obj))
                if not held or not held.key:
                    order = (created, key)
                    if order < self._last.get(type_, order):
                        unordered.add(type_)
                    else:
                        self._last[type_] = order
            self._held[key] = _Held(created, modified, shown, type_)
        self._forget_gone(revision)
        changes += following(changes, self.snapshot)
        snapshot = self.snapshot.changed(changes, revision)
        for type_ in unordered:
            snapshot = self._in_order(snapshot, type_)
        self._note_moved(snapshot)
        self.snapshot = snapshot
        self._wake()

    def _note_moved(self, snapshot: Snapshot) -> None:
        if snapshot.objects is not self.snapshot.objects:
            self.moved = time.monotonic()

    def _forget_gone(self, revision: int) -> None:
        """Once the watch has come so far. Who deletes a thousand objects one after the other has it come no further."""
        if revision > self.snapshot.revision:
            self._gone = {key: gone for key, gone in self._gone.items() if gone > revision}

    def _note_fence(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.entry.key == FENCE and event.entry.mod_revision > self.fence:
                self.fence = event.entry.mod_revision if event.type == "put" else 0

    def _in_order(self, snapshot: Snapshot, type_: type[Object]) -> Snapshot:
        """The snapshot with the objects of a kind in the order in which they were first stored."""
        orders = {obj.key: self._order(obj) for obj in snapshot.all(type_).values()}
        objects = sorted(snapshot.all(type_).values(), key=lambda obj: orders[obj.key])
        changes: list[Change] = [(type_, obj.key, None) for obj in objects]
        changes += [(type_, obj.key, obj) for obj in objects]
        return snapshot.changed(changes, snapshot.revision)

    def _order(self, obj: Object) -> Order:
        key = scheme.store_key(obj)
        held = self._held.get(key)  # none of what is made of others
        return (held.created if held else 0, key)

    def _object(self, type_: type[Object], entry: Entry, made: Object | None) -> Object | None:
        try:
            obj = made or decoding.decode(type_, entry.value)
            if scheme.store_key(obj) != entry.key:
                raise msgspec.ValidationError(f"the object names itself {scheme.store_key(obj)!r}")
            if problem := problem_of(obj):
                raise msgspec.ValidationError(problem)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self.problems[entry.key] = str(error)
            log.warning("%r at revision %d is kept out: %s", entry.key, entry.mod_revision, error)
            return None
        self.problems.pop(entry.key, None)
        metadata = msgspec.structs.replace(obj.metadata, resourceVersion=str(entry.mod_revision))
        return msgspec.structs.replace(obj, metadata=metadata)

    def _runs(self) -> bool:
        """Whether the watch goes on; raises what ended it, if anything did."""
        if self._task and self._task.done():
            self._task.result()
        return self._task is not None

    def _wake(self) -> None:
        tick, self._tick = self._tick, asyncio.Event()
        tick.set()


def _differ(one: Snapshot, other: Snapshot, kinds: Collection[type[Object]]) -> bool:
    """Whether there are others of any of the kinds, of all where none is named."""
    if one.objects is other.objects:
        return False
    return not kinds or any(one.all(kind) is not other.all(kind) for kind in kinds)


class _Held(msgspec.Struct, frozen=True):
    """What is known of a stored key; `key` is that of its object in the snapshot, None when it was kept out."""

    created: int
    modified: int
    key: Key | None
    type: type[Object]


def _type(event: Event) -> type[Object] | None:
    resource = scheme.resource_for_key(event.entry.key, event.entry.value)
    return resource.type if resource else None
