"""What happened to the lab's objects since a revision, so that a watch can begin where a list ended.

Nothing is recorded while nobody lists or watches; then changes in between are folded into one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncGenerator, Iterator
from itertools import islice

import msgspec

from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import RequestError

REMEMBERED = 1024
"""Changes that are kept at least: a change holds a whole object, 5 kB of a pod."""
WAITED_FOR = 16
"""How many times as many are kept for a watch that has not read them yet."""


class Change(msgspec.Struct, frozen=True):
    """An object's change: `old` is None for a new one, `new` for one that has gone.

    Of two writes at the same time the earlier may be known later: it is `late`, and `revision` then is that of the
    newest change before it. Who knows the objects up to that revision may or may not know of it.
    """

    type: type[Object]
    old: Object | None
    new: Object | None
    revision: int
    late: bool = False

    def after(self, revision: int) -> bool:
        return self.revision > revision or (self.late and self.revision >= revision)


class History:
    """The last changes of all objects, each with a number that only grows.

    Where others write to the store too, this process's own writes wait for the watch: who has been told of one, and
    goes on from its revision at another server, is told there of nothing that came before.
    """

    def __init__(self, cluster: Cluster, remembered: int = REMEMBERED) -> None:
        self._cluster, self._remembered = cluster, remembered
        self._changes: list[Change] = []
        self._ahead: list[Change] = []
        """Of later revisions than the watch has come to."""
        self._forgotten = 0
        self._snapshot: Snapshot | None = None
        self._floor = 0
        self._newest = 0
        self._readers: dict[object, int] = {}

    def advance(self) -> Snapshot:
        """Takes in what has changed; the snapshot up to which the row goes now."""
        snapshot, before = self._cluster.snapshot, self._snapshot
        self._snapshot = snapshot
        if before is None:
            self._floor = max(snapshot.revision, self._cluster.informer.written)
            self._newest = snapshot.revision if self._cluster.shared else self._floor
        elif snapshot is not before and snapshot.revision < before.revision:
            self._begin_anew(snapshot)  # the store has lost its data and was filled again
        elif snapshot is not before:
            types = dict.fromkeys((*snapshot.types(), *before.types()))
            found = [change for type_ in types for change in self._found(type_, snapshot, before)]
            for change in self._in_order(found, snapshot.revision):
                late = change.revision <= self._newest
                self._newest = max(self._newest, change.revision)
                self._changes.append(msgspec.structs.replace(change, revision=self._newest, late=late))
            if (spare := self._spare()) > 0:
                self._forget(spare)
        return snapshot

    @property
    def revision(self) -> int:
        """The revision that the newest change led to."""
        return max(self._newest, self._snapshot.revision if self._snapshot else 0)

    @property
    def end(self) -> int:
        """The place of the next change."""
        return self._forgotten + len(self._changes)

    def since(self, revision: int) -> int:
        """The place of the first change that who knows all up to `revision` may not know. Raises RequestError (410)."""
        if revision < self._floor:
            raise expired(revision, self._floor)
        for number, change in enumerate(self._changes):
            if change.after(revision):
                return self._forgotten + number
        return self.end

    async def follow(self, place: int) -> AsyncGenerator[tuple[Change, ...], None]:
        """What happened from a place on, and goes on happening; () where nothing did. Raises RequestError (410)."""
        reader = object()
        self._readers[reader] = place
        try:
            async for _ in self._cluster.changes(reports=True, revisions=self._cluster.shared):
                self.advance()
                if place < self._forgotten:
                    raise expired(0, self._floor)
                news = tuple(islice(self._changes, place - self._forgotten, None))
                self._readers[reader] = place = self.end
                yield news
        finally:
            del self._readers[reader]

    def _in_order(self, found: list[Change], reached: int) -> list[Change]:
        """Those that may be told, once the watch has `reached` a revision."""
        held = sorted((*self._ahead, *found), key=lambda change: change.revision)
        end = bisect_right(held, reached, key=lambda change: change.revision) if self._cluster.shared else len(held)
        self._ahead = held[end:]
        return held[:end]

    def _found(self, type_: type[Object], now: Snapshot, before: Snapshot) -> Iterator[Change]:
        # A deletion's own revision is not known: it is at most the newest that this process has seen.
        upto = max(now.revision, self._cluster.informer.written)
        for key in now.changes(type_, before):
            old, new = before.all(type_).get(key), now.all(type_).get(key)
            if old is new:
                continue
            if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
                gone = max(upto, _revision(old)) if new is None else _revision(new)
                yield Change(type_, old, None, gone)
                old = None
            if new is not None:
                yield Change(type_, old, new, _revision(new))

    def _spare(self) -> int:
        """How many of the oldest changes no watch needs any more."""
        held = len(self._changes)
        if held <= 2 * self._remembered:
            return 0
        spare = held - self._remembered
        if held > WAITED_FOR * self._remembered:
            return spare
        return min(spare, min(self._readers.values(), default=self.end) - self._forgotten)

    def _forget(self, count: int) -> None:
        self._floor = max(self._floor, self._changes[count - 1].revision)
        del self._changes[:count]
        self._forgotten += count

    def _begin_anew(self, snapshot: Snapshot) -> None:
        self._forgotten = self.end + 1
        self._changes = []
        self._ahead = []
        self._newest = self._floor = snapshot.revision


def _revision(obj: Object) -> int:
    return int(obj.metadata.resourceVersion or 0)


def expired(revision: int, oldest: int) -> RequestError:
    return RequestError(
        f"too old resource version: {revision} ({oldest})", "list again, and watch from there", "Expired", 410
    )
