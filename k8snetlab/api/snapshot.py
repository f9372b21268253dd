"""All objects of a lab at one revision."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

import msgspec

from k8snetlab.api.core import Node
from k8snetlab.api.custom import Custom
from k8snetlab.api.kubeproxy import KubeProxyConfiguration
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.versions import NONE, Groups, Key, Objects
from k8snetlab.errors import NotFoundError
from k8snetlab.wording import nearest

__all__ = ["Change", "Draft", "Key", "Snapshot"]

T = TypeVar("T", bound=Object)
V = TypeVar("V")
Change = tuple[type[Object], Key, Object | None]
"""A kind, (namespace, name), and the new object, or None for deleted."""


ALIKE = 0.85
"""node9 is not node1 mistyped, nod1 is."""


class Snapshot(msgspec.Struct, frozen=True):
    """`objects` maps a type to its objects by (namespace, name). A changed snapshot is a new value that shares the
    mappings of every kind without a change, so identity tells cheaply what is unchanged.

    `reports` holds the objects of kinds that only report (Events) in the same way. Two snapshots with the same
    `objects` ask for the same of controllers and kernels, whatever is reported in between.
    """

    revision: int = 0
    objects: Mapping[type[Object], Mapping[Key, Object]] = {}
    reports: Mapping[type[Object], Mapping[Key, Object]] = {}

    def _of(self, type_: type[Object]) -> Mapping[Key, Object]:
        return (self.reports if type_.REPORTS else self.objects).get(type_, NONE)

    def all(self, type_: type[T]) -> Mapping[Key, T]:
        """Every object of a kind, by (namespace, name), in the order in which they were first stored."""
        return self._of(type_)  # type: ignore[return-value]

    def get(self, type_: type[T], name: str, namespace: str = "") -> T | None:
        return self.all(type_).get((namespace, name))

    def node(self, name: str) -> Node:
        """Raises NotFoundError, which says what nodes there are."""
        found = self.get(Node, name)
        if found is None:
            nodes = [n for _, n in self.all(Node)]
            known = f"nodes: {', '.join(nodes)}" if nodes else "the lab has no nodes (yet)"
            raise NotFoundError(f"node {name!r} not found", nearest(name, nodes, known, ALIKE))
        return found

    def select(self, type_: type[T], groups: Groups, group: Hashable) -> Mapping[Key, T]:
        """The objects of a kind for which `groups(object)` has `group` among its values, oldest members first.

        `groups` must be a module's function (the table made with it is kept and follows the changes), so that a lookup
        among 100,000 objects costs microseconds.
        """
        objects = self._of(type_)
        if not objects:
            return NONE
        if isinstance(objects, Objects):
            return objects.tables.select(objects, groups, group)
        return {key: obj for key, obj in objects.items() if group in groups(obj)}  # type: ignore[misc]

    def derived(self, type_: type[T], make: Callable[[Mapping[Key, T]], V]) -> V:
        """What `make`, a module's function, makes of all objects of a kind: once for each state of them."""
        objects = self._of(type_)
        if not isinstance(objects, Objects):
            return make(objects)  # type: ignore[arg-type]
        if make not in objects.derived:
            objects.derived[make] = make(objects)
        value: V = objects.derived[make]
        return value

    def types(self) -> Iterable[type[Object]]:
        """Those of which there are objects, or were."""
        return (*self.objects, *self.reports)

    def changed(self, changes: Iterable[Change], revision: int) -> Snapshot:
        """This snapshot with each (type, key, new object or None for deleted) put in."""
        by_type: dict[type[Object], list[tuple[Key, Object | None]]] = {}
        for type_, key, obj in changes:
            by_type.setdefault(type_, []).append((key, obj))
        objects, reports = self.objects, self.reports
        if any(not type_.REPORTS for type_ in by_type):
            objects = dict(objects)
        if any(type_.REPORTS for type_ in by_type):
            reports = dict(reports)
        for type_, changed in by_type.items():
            kinds: dict[type[Object], Mapping[Key, Object]] = reports if type_.REPORTS else objects  # type: ignore[assignment]
            have = kinds.get(type_, NONE)
            kinds[type_] = (have if isinstance(have, Objects) else Objects(have)).changed(changed)
            if not kinds[type_] and issubclass(type_, Custom):
                del kinds[type_]  # such kinds come and go
        return Snapshot(revision, objects, reports)

    def changes(self, type_: type[Object], previous: Snapshot | None) -> Iterable[Key]:
        """Keys of a kind whose objects differ from those of `previous` (all keys when that is None), in the order in
        which they changed; nothing is compared when one snapshot came from the other, so some may turn out equal."""
        now = self._of(type_)
        before = previous._of(type_) if previous else NONE
        if now is before:
            return ()
        if isinstance(now, Objects) and isinstance(before, Objects):
            keys = now.version.difference(before.version)
            if keys is not None:
                return keys
        if not before:
            return tuple(now)
        return [key for key, obj in now.items() if before.get(key) is not obj] + [k for k in before if k not in now]

    @staticmethod
    def of(objects: Iterable[Object], revision: int = 0) -> Snapshot:
        return Snapshot().changed(((type(o), o.key, o) for o in objects), revision)

    @property
    def lab(self) -> Lab:
        """The lab's own object; a default one where the objects came without a lab file."""
        return next(iter(self.all(Lab).values()), Lab())

    @property
    def proxy(self) -> KubeProxyConfiguration:
        return next(iter(self.all(KubeProxyConfiguration).values()), KubeProxyConfiguration())


class Draft:
    """What a snapshot becomes while objects are put in one after the other. `snapshot` is what it is now; what it was
    before is not to be asked again, so that each kind is copied once and not for each object.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._own: set[type[Object]] = set()
        """The kinds that were copied."""

    def put(self, obj: Object) -> None:
        type_, held = type(obj), self.snapshot.all(type(obj))
        if type_ in self._own and isinstance(held, Objects):
            held.grow(obj.key, obj)
        else:
            self.snapshot = self.snapshot.changed([(type_, obj.key, obj)], self.snapshot.revision)
            self._own.add(type_)
