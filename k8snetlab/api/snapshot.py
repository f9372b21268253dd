"""All objects of a lab at one revision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeVar

import msgspec

from k8snetlab.api.kubeproxy import KubeProxyConfiguration
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object

Key = tuple[str, str]
T = TypeVar("T", bound=Object)
_EMPTY: Mapping[Key, Object] = MappingProxyType({})


class Snapshot(msgspec.Struct, frozen=True):
    """`objects` maps a type to its objects by (namespace, name). A changed snapshot is a new value that shares the
    mappings of every kind without a change, so identity tells cheaply what is unchanged.
    """

    revision: int = 0
    objects: Mapping[type[Object], Mapping[Key, Object]] = {}

    def all(self, type_: type[T]) -> Mapping[Key, T]:
        """Every object of a kind, by (namespace, name), in the order in which they were first stored."""
        return self.objects.get(type_, _EMPTY)  # type: ignore[return-value]

    def get(self, type_: type[T], name: str, namespace: str = "") -> T | None:
        return self.all(type_).get((namespace, name))

    def changed(self, changes: Iterable[tuple[type[Object], Key, Object | None]], revision: int) -> Snapshot:
        """This snapshot with each (type, key, new object or None for deleted) put in."""
        objects = dict(self.objects)
        copied: dict[type[Object], dict[Key, Object]] = {}
        for type_, key, obj in changes:
            kind = copied.get(type_)
            if kind is None:
                kind = copied[type_] = dict(objects.get(type_, {}))
                objects[type_] = kind
            if obj is None:
                kind.pop(key, None)
            else:
                kind[key] = obj
        return Snapshot(revision, objects)

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
