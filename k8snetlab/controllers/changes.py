"""What a controller answers: objects to put, objects to remove."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Change, Key, Snapshot
from k8snetlab.controllers.identity import controller_of

DELETED = "deleted"
"""Stands for the deletionTimestamp that only the server, which has a clock, can give."""


def put(obj: Object) -> Change:
    return type(obj), obj.key, obj


def remove(obj: Object, snapshot: Snapshot) -> tuple[Change, ...]:
    """The removal of an object; a pod is only marked, because it lives until its node has ended it (and because its
    name must not be given again before it is gone)."""
    if isinstance(obj, Pod):
        if not obj.metadata.deletionTimestamp:
            return (put(replace(obj, metadata=replace(obj.metadata, deletionTimestamp=DELETED))),)
        if obj.metadata.deletionTimestamp == DELETED or not abandoned(obj, snapshot):
            return ()
    return ((type(obj), obj.key, None),)


def owners_changed(type_: type[Object], owned: type[Object], now: Snapshot, before: Snapshot | None) -> Iterable[Key]:
    """Changed objects of a kind, and those whose owned objects changed."""
    keys = dict.fromkeys(now.changes(type_, before))
    for key in now.changes(owned, before):
        for obj in (now.all(owned).get(key), before.all(owned).get(key) if before else None):
            owner = controller_of(obj) if obj else None
            if obj and owner and owner.kind == type_.KIND:
                keys[obj.namespace, owner.name] = None
    return keys


def abandoned(pod: Pod, snapshot: Snapshot) -> bool:
    """Whether there is no node that could end the pod."""
    return snapshot.get(Node, pod.spec.nodeName) is None


def active(pod: Pod) -> bool:
    """Neither on its way out nor at its end."""
    return not pod.metadata.deletionTimestamp and not pod.ended
