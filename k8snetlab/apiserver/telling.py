"""What a watch tells of changes: lines of JSON, made once for all who are told the same."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from k8snetlab.api.meta import Object
from k8snetlab.apiserver.history import Change
from k8snetlab.apiserver.query import Selection
from k8snetlab.apiserver.views import View

PIECE = 1 << 16
"""Bytes at which what is told goes out."""
KEPT = 4 << 20
"""Bytes of lines that are kept for the next who is told the same."""
MANY = 256
"""Of how many turns, at most."""


class Watched(msgspec.Struct, frozen=True):
    """What a watch tells of and how, for `seconds`."""

    type: type[Object]
    wanted: Selection
    view: View
    seconds: float
    bookmarks: bool

    @property
    def now(self) -> View:
        """Ages are those of the second in which an event is told."""
        return self.view.at(int(time.time()))


class Telling:
    """Lines for all watches of a lab: those who are told of the same changes at the same time share them."""

    def __init__(self) -> None:
        self._made: dict[tuple[Any, ...], tuple[Sequence[Change], tuple[bytes, ...]]] = {}
        self._size = 0

    def of(self, changes: Sequence[Change], watched: Watched) -> Sequence[bytes]:
        """The lines of what these changes are to a watch, some at a time."""
        if not any(change.type is watched.type for change in changes):
            return ()
        view = watched.now
        key = (id(changes[0]), id(changes[-1]), len(changes), watched.type, watched.wanted, view)
        if (kept := self._made.get(key)) is not None:
            return kept[1]
        mine = ((change, _kind(change, watched.wanted)) for change in changes if change.type is watched.type)
        made = tuple(_gathered(line(kind, view.one(_shown(change, kind))) for change, kind in mine if kind))
        self._made[key] = changes, made
        self._size += sum(map(len, made))
        while self._size > KEPT or len(self._made) > MANY:
            _, gone = self._made.pop(next(iter(self._made)))
            self._size -= sum(map(len, gone))
        return made


def line(kind: str, obj: Any) -> bytes:
    """One event."""
    return msgspec.json.encode({"type": kind, "object": obj}) + b"\n"


def pieces(objects: Iterable[Object], watched: Watched) -> Iterator[bytes]:
    """Objects that are there already, as added."""
    view = watched.now
    return _gathered(line("ADDED", view.one(obj)) for obj in objects)


def _gathered(lines: Iterable[bytes]) -> Iterator[bytes]:
    piece, size = list[bytes](), 0
    for one in lines:
        piece.append(one)
        size += len(one)
        if size >= PIECE:
            yield b"".join(piece)
            piece, size = [], 0
    if piece:
        yield b"".join(piece)


def _kind(change: Change, wanted: Selection) -> str:
    """What the change is to who wants these objects, "" for nothing: one that begins to match counts as added, one
    that ceases to as deleted."""
    before = change.old is not None and wanted.matches(change.old)
    if change.new is not None and wanted.matches(change.new):
        return "MODIFIED" if before else "ADDED"
    return "DELETED" if before else ""


def _shown(change: Change, kind: str) -> Object:
    last = change.new or change.old
    assert last is not None
    if kind != "DELETED":
        return last
    return replace(last, metadata=replace(last.metadata, resourceVersion=str(change.revision)))
