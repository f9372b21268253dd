"""Garbage collection: objects whose owner is gone, and pods on nodes that are gone."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.kinds import kinds_of
from k8snetlab.api.meta import FOREGROUND, Object, OwnerReference
from k8snetlab.api.selection import by_owner, owned, pods_by_node
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.controllers.changes import Answer, each, put, remove, remove_after

_Place = tuple[type[Object], Key]


def reconcile(now: Snapshot, before: Snapshot | None) -> Iterator[Answer]:
    doubtful, waiting = dict[_Place, Object](), dict[str, Object]()
    for type_ in dict.fromkeys((*now.objects, *(before.objects if before else ()))):
        objects, olds = now.all(type_), before.all(type_) if before else {}
        for key in now.changes(type_, before):
            obj, old = objects.get(key), olds.get(key)
            if obj is not None and obj.metadata.ownerReferences:
                doubtful[type_, key] = obj
            if obj is not None and FOREGROUND in obj.metadata.finalizers:
                waiting[obj.metadata.uid] = obj
            if before is not None and (obj is None or (old and old.metadata.uid != obj.metadata.uid)):
                doubtful.update(_dependents((type_.KIND, *key), now))
            if old is not None and obj is None:
                waiting.update(_waiting(old, now))
    yield from each(doubtful.values(), lambda obj: _collected(obj, now), lambda obj: obj)
    yield from each(waiting.values(), lambda obj: _in_foreground(obj, now), lambda obj: obj)
    for _, name in now.changes(Node, before):
        if before is not None and not now.get(Node, name):
            for pod in now.select(Pod, pods_by_node, name).values():
                yield from remove(pod, now)


def _dependents(owner: tuple[str, str, str], now: Snapshot) -> Iterator[tuple[_Place, Object]]:
    """What says that an object of this kind, namespace and name owns it."""
    for type_ in now.objects:
        for key, obj in now.select(type_, by_owner, owner).items():
            yield (type_, key), obj


def _collected(obj: Object, now: Snapshot) -> Iterator[Answer]:
    if all(_gone(obj, o, now) for o in obj.metadata.ownerReferences):
        yield from remove(obj, now)


def _waiting(gone: Object, now: Snapshot) -> Iterator[tuple[str, Object]]:
    """The owners of what has gone that wait for that."""
    for reference in gone.metadata.ownerReferences:
        owner = _owner(gone, reference, now)
        if owner is not None and FOREGROUND in owner.metadata.finalizers:
            yield owner.metadata.uid, owner


def _in_foreground(owner: Object, now: Snapshot) -> Iterator[Answer]:
    """Of an object that goes after what it owns. Who owns itself, or waits in a circle, does not wait for ever."""
    if not owner.metadata.deletionTimestamp:
        return
    there = list[Object]()
    for obj in owned(owner, now):
        if obj.metadata.uid != owner.metadata.uid:
            there.append(free := _unblocked(obj, now))
            yield from () if free is obj else (put(free),)
            yield from remove_after(free, now)
    if not any(_blocks(obj, owner) for obj in there):
        finalizers = tuple(name for name in owner.metadata.finalizers if name != FOREGROUND)
        yield put(replace(owner, metadata=replace(owner.metadata, finalizers=finalizers)))


def _unblocked(obj: Object, now: Snapshot) -> Object:
    """What it owns may wait for it, while that waits for what it owns itself: then nobody has to wait for it.

    Source: Kubernetes pkg/controller/garbagecollector (attemptToDeleteItem, "to prevent potential cycle").
    """
    if not any(FOREGROUND in one.metadata.finalizers and one.metadata.deletionTimestamp for one in owned(obj, now)):
        return obj
    if not any(one.blockOwnerDeletion for one in obj.metadata.ownerReferences):
        return obj
    free = tuple(replace(one, blockOwnerDeletion=False) for one in obj.metadata.ownerReferences)
    return replace(obj, metadata=replace(obj.metadata, ownerReferences=free))


def _blocks(obj: Object, owner: Object) -> bool:
    return any(o.blockOwnerDeletion for o in obj.metadata.ownerReferences if o.uid == owner.metadata.uid)


def _gone(obj: Object, reference: OwnerReference, now: Snapshot) -> bool:
    if kinds_of(now).named(reference.apiVersion, reference.kind) is None:
        return False
    owner = _owner(obj, reference, now)
    return owner is None or bool(reference.uid and owner.metadata.uid and owner.metadata.uid != reference.uid)


def _owner(obj: Object, reference: OwnerReference, now: Snapshot) -> Object | None:
    resource = kinds_of(now).named(reference.apiVersion, reference.kind)
    if resource is None:
        return None
    return now.all(resource.type).get((obj.namespace if resource.type.namespaced else "", reference.name))
