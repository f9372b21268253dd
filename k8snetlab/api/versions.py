"""How one kind's objects in two snapshots differ, and lookups that follow such differences.

Finding what changed among 100,000 objects by comparing them costs milliseconds, and building a table over them costs
more. A changed mapping therefore remembers its parent and the changed keys: two mappings of one family are compared by
walking to their common ancestor, and a table is carried from one to the other by the keys met on that walk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from k8snetlab.api.meta import Object

Key = tuple[str, str]
T = TypeVar("T", bound=Object)
Groups = Callable[[Any], Iterable[Hashable]]
NONE: Mapping[Key, Any] = MappingProxyType({})
MEMORY = 4096
"""How many versions back a difference is known by heart; beyond that it is found by comparing."""


class Version:
    """A node in the family tree of one kind's mappings; `keys` differ from the parent's."""

    __slots__ = ("depth", "keys", "parent")

    def __init__(self, parent: Version | None = None, keys: tuple[Key, ...] = ()) -> None:
        self.parent = parent
        self.keys = keys
        self.depth: int = parent.depth + 1 if parent else 0
        if self.depth and self.depth % MEMORY == 0:
            self._forget()

    def _forget(self) -> None:
        node: Version | None = self
        for _ in range(MEMORY):
            node = node.parent if node else None
        if node is not None:
            node.parent = None

    def difference(self, other: Version) -> Iterable[Key] | None:
        """Keys that may differ between two versions, those that changed first first.

        None when their common ancestor is not remembered.
        """
        if self.parent is other:
            return self.keys  # nearly always, where objects are put in one after the other
        newer: list[Version] = []
        older: list[Version] = []
        a: Version | None = self
        b: Version | None = other
        while a is not b:
            if a is None or b is None:
                return None
            if a.depth >= b.depth:
                newer.append(a)
                a = a.parent
            else:
                older.append(b)
                b = b.parent
        return dict.fromkeys(key for version in (*reversed(older), *reversed(newer)) for key in version.keys)


class Objects(dict[Key, T]):
    """One kind's objects by (namespace, name), in the order in which they were first stored. Never changed in place
    once others have it."""

    __slots__ = ("derived", "tables", "version")

    def __init__(self, objects: Mapping[Key, T] = NONE) -> None:
        super().__init__(objects)
        self.derived: dict[Callable[[Any], Any], Any] = {}
        self.version = Version()
        self.tables = Tables()

    def changed(self, changes: Iterable[tuple[Key, T | None]]) -> Objects[T]:
        """A copy with each object put in, or taken out where it is None, one after the other."""
        changes = tuple(changes)
        child = Objects[T].__new__(Objects)
        dict.__init__(child, self)
        child.version = Version(self.version, tuple(dict.fromkeys(key for key, _ in changes)))
        child.tables = self.tables
        child.derived = {}
        for key, obj in changes:
            if obj is None:
                child.pop(key, None)
            else:
                child[key] = obj
        return child

    def grow(self, key: Key, obj: T) -> None:
        """Puts an object in without a copy: for whoever alone has this mapping, and asks nothing of what it was."""
        self.version, self.derived = Version(self.version, (key,)), {}
        self[key] = obj


class Tables:
    """The lookup tables of a family of mappings, one for each grouping function."""

    __slots__ = ("lock", "tables")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.tables: dict[Groups, Table] = {}

    def select(self, objects: Objects[T], groups: Groups, group: Hashable) -> Mapping[Key, T]:
        with self.lock:
            table = self.tables.get(groups)
            if table is None:
                table = self.tables[groups] = Table(groups)
            table.follow(objects)
            return table.members.get(group, NONE)


class Table:
    """Objects by group, as they are in the mapping last followed. A group handed out never changes afterwards."""

    __slots__ = ("groups", "members", "of", "version")

    def __init__(self, groups: Groups) -> None:
        self.groups = groups
        self.version: Version | None = None
        self.members: dict[Hashable, dict[Key, Any]] = {}
        self.of: dict[Key, tuple[Hashable, ...]] = {}

    def follow(self, objects: Objects[Any]) -> None:
        if self.version is objects.version:
            return
        keys = objects.version.difference(self.version) if self.version else None
        self.version = objects.version
        if keys is None:
            self._build(objects)
        else:
            self._update(objects, keys)

    def _build(self, objects: Objects[Any]) -> None:
        self.members, self.of = {}, {}
        for key, obj in objects.items():
            self.of[key] = groups = tuple(self.groups(obj))
            for group in groups:
                self.members.setdefault(group, {})[key] = obj

    def _update(self, objects: Objects[Any], keys: Iterable[Key]) -> None:
        fresh: dict[Hashable, dict[Key, Any]] = {}
        for key in keys:
            obj = objects.get(key)
            before = self.of.pop(key, ())
            after = () if obj is None else tuple(self.groups(obj))
            if after:
                self.of[key] = after
            for group in dict.fromkeys((*before, *after)):
                # A group of many members is copied once, however many of them have changed.
                members = fresh.get(group)
                if members is None:
                    members = fresh[group] = dict(self.members.get(group, NONE))
                if group in after:
                    members[key] = obj
                else:
                    members.pop(key, None)
        for group, members in fresh.items():
            if members:
                self.members[group] = members
            else:
                self.members.pop(group, None)
