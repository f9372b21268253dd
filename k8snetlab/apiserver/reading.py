"""Lists and watches of one kind.

Source: Kubernetes API concepts (efficient detection of changes, resource versions, retrieving large results sets in
chunks, streaming lists).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import random
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import Resource
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.apiserver.history import Change, History, expired
from k8snetlab.apiserver.query import Query, Selection, boolean, number, text
from k8snetlab.apiserver.telling import Telling, Watched, line, pieces
from k8snetlab.apiserver.views import View
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import K8sNetLabError, RequestError
from k8snetlab.messages.errors import status_of

Json = dict[str, Any]
PAGED = 16
"""Snapshots kept for those who read a list in chunks."""
BOOKMARKS = 60.0
"""Seconds between two bookmarks of a watch, as kube-apiserver has it about."""
LONGEST = 1800.0
"""Seconds after which, and before twice as many, a watch ends that asks for no end, as kube-apiserver has it
(--min-request-timeout)."""
INITIAL_END = "k8s.io/initial-events-end"


class _Token(msgspec.Struct, frozen=True):
    """Where a list in chunks goes on: after `start`, as it was at revision `rv`."""

    rv: int
    start: tuple[str, str]


class Reading:
    """Reads the cluster's snapshot, and its history for watches."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._history, self._telling = cluster, History(cluster), Telling()
        self._paged: OrderedDict[int, Snapshot] = OrderedDict()

    def list(self, resource: Resource, wanted: Selection, query: Query, view: View) -> Json:
        for word in ("watch", "allowWatchBookmarks", "sendInitialEvents"):
            if boolean(query, word):
                raise RequestError(f"{word}: goes with a watch only", "watch=true")
        number(query, "timeoutSeconds")
        limit, token = number(query, "limit"), text(query, "continue")
        if not limit and not token:
            snapshot = self._at(query)
            found = [obj for obj in ordered(resource, snapshot) if wanted.matches(obj)]
            return view.many(found, {"resourceVersion": str(self._history.revision)})
        start: tuple[str, str] | None = None
        if token:
            if text(query, "resourceVersion") not in ("", "0"):
                raise RequestError("specifying resource version is not allowed when using continue")
            mark = self._go_on(token)
            snapshot, revision, start = self._paged[mark.rv], mark.rv, mark.start
        else:
            snapshot = self._at(query)
            revision = self._history.revision
        found = [
            obj for obj in ordered(resource, snapshot) if (start is None or obj.key > start) and wanted.matches(obj)
        ]
        page = found[: limit or None]
        metadata: Json = {"resourceVersion": str(revision)}
        if len(found) > len(page):
            self._paged[revision] = snapshot
            self._paged.move_to_end(revision)
            while len(self._paged) > PAGED:
                self._paged.popitem(last=False)
            behind = msgspec.json.encode(_Token(revision, page[-1].key))
            metadata["continue"] = base64.urlsafe_b64encode(behind).decode()
            if not wanted.narrow:
                metadata["remainingItemCount"] = len(found) - len(page)
        return view.many(page, metadata)

    def check_get(self, query: Query) -> None:
        self._not_ahead(_revision(query))

    def watch(self, resource: Resource, wanted: Selection, query: Query, view: View) -> AsyncGenerator[bytes, None]:
        """JSON lines {"type": ADDED|MODIFIED|DELETED|BOOKMARK|ERROR, "object"}, some at a time, at first none, with
        which the answer begins."""
        if number(query, "limit") or text(query, "continue"):
            raise RequestError("limit and continue do not go with a watch")
        seconds = number(query, "timeoutSeconds", high=10**9)
        bookmarks, initial, match = (
            boolean(query, "allowWatchBookmarks"),
            boolean(query, "sendInitialEvents"),
            text(query, "resourceVersionMatch"),
        )
        if "sendInitialEvents" in query and match != "NotOlderThan":
            raise RequestError(
                "resourceVersionMatch: Invalid value: sendInitialEvents needs resourceVersionMatch=NotOlderThan"
            )
        if "sendInitialEvents" not in query and match:
            raise RequestError("resourceVersionMatch: Forbidden: it is for a watch with sendInitialEvents only")
        if initial and not bookmarks:
            raise RequestError("sendInitialEvents: Forbidden: it needs allowWatchBookmarks=true")
        revision = _revision(query)
        self._not_ahead(revision)
        snapshot = self._history.advance()
        first: list[Object] = []
        if initial or (revision == 0 and "sendInitialEvents" not in query):
            place = self._history.end
            first = [obj for obj in ordered(resource, snapshot) if wanted.matches(obj)]
        else:
            place = self._history.since(revision) if revision else self._history.end
        begun = revision if revision and not first and place != self._history.end else self._history.revision
        watched = Watched(resource.type, wanted, view, seconds or LONGEST * (1 + random.random()), bookmarks)
        return self._events(watched, first, place, begun, initial=initial)

    async def _events(
        self, watched: Watched, first: Sequence[Object], place: int, begun: int, *, initial: bool
    ) -> AsyncGenerator[bytes, None]:
        """`first` and then what changes from `place` on, which is behind revision `begun`; after `first` a bookmark,
        where the `initial` events are to have an end."""
        yield b""
        for piece in pieces(first, watched):
            yield piece
        if initial:
            yield _bookmark(watched, begun, {INITIAL_END: "true"})
        until = time.monotonic() + watched.seconds
        last = time.monotonic()
        async with aclosing(_until(self._history.follow(place), until)) as turns:
            try:
                async for news in turns:
                    for piece in self._telling.of(news, watched):
                        yield piece
                    begun = max(begun, news[-1].revision) if news else begun
                    if watched.bookmarks and time.monotonic() - last >= BOOKMARKS:
                        last = time.monotonic()
                        yield _bookmark(watched, begun)
                if watched.bookmarks:
                    yield _bookmark(watched, begun)
            except K8sNetLabError as error:
                yield line("ERROR", status_of(error))

    def _at(self, query: Query) -> Snapshot:
        """The snapshot that a list with these words of the resource version is made from."""
        revision, match = _revision(query), text(query, "resourceVersionMatch")
        if match not in ("", "Exact", "NotOlderThan"):
            raise RequestError(
                'resourceVersionMatch: Unsupported value: supported values: "Exact", "NotOlderThan"',
                "",
            )
        if match and "resourceVersion" not in query:
            raise RequestError("resourceVersionMatch: Forbidden: it needs a resourceVersion")
        if match == "Exact" and not revision:
            raise RequestError('resourceVersionMatch: Forbidden: "Exact" is forbidden for resourceVersion "0"')
        snapshot = self._history.advance()
        self._not_ahead(revision)
        if match == "Exact" and revision != self._history.revision:
            kept = self._paged.get(revision)
            if kept is None:
                raise expired(revision, self._history.revision)
            return kept
        return snapshot

    def _go_on(self, token: str) -> _Token:
        try:
            mark = msgspec.json.decode(base64.b64decode(token, b"-_", validate=True), type=_Token)
        except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
            raise RequestError("continue key is not valid: it is none that a list was answered with") from error
        if mark.rv not in self._paged:
            raise RequestError(
                "The provided continue parameter is too old to display a consistent list result. You can start a new "
                "list without the continue parameter.",
                "",
                "Expired",
                410,
            )
        return mark

    def _not_ahead(self, revision: int) -> None:
        known = max(self._cluster.snapshot.revision, self._cluster.informer.written, self._history.revision)
        if revision > known:
            raise RequestError(
                f"Too large resource version: {revision}, current: {known}", "try again later", "Timeout", 504
            )


def ordered(resource: Resource, snapshot: Snapshot) -> list[Object]:
    """All objects of a kind by namespace and name, as etcd has them."""
    return [obj for _, obj in sorted(snapshot.all(resource.type).items())]


def _revision(query: Query) -> int:
    said = text(query, "resourceVersion")
    try:
        return number(query, "resourceVersion") or 0
    except RequestError:
        raise RequestError(
            f'resourceVersion: Invalid value: "{said[:60]}": it is a number that the server told'
        ) from None


def _bookmark(watched: Watched, revision: int, annotations: dict[str, str] | None = None) -> bytes:
    """How far the watch has come."""
    metadata: Json = {"resourceVersion": str(revision), **({"annotations": annotations} if annotations else {})}
    return line("BOOKMARK", watched.view.bookmark(metadata))


async def _until(
    turns: AsyncGenerator[tuple[Change, ...], None] | Any, end: float
) -> AsyncGenerator[tuple[Change, ...], None]:
    """The same, until a moment of the monotonic clock, and () where nothing came for a while."""
    turn: asyncio.Future[Any] | None = None
    async with aclosing(turns):
        try:
            while True:
                turn = turn or asyncio.ensure_future(anext(turns, None))
                left = min(BOOKMARKS, max(0.0, end - time.monotonic()))
                await asyncio.wait({turn}, timeout=left)
                if turn.done():
                    news, turn = turn.result(), None
                    if news is None:
                        return
                    yield news
                elif time.monotonic() >= end:
                    return
                else:
                    yield ()
        finally:
            if turn is not None and not turn.done():
                turn.cancel()
                await asyncio.gather(turn, return_exceptions=True)
