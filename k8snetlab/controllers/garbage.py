"""Garbage collection: objects whose owner is gone, and pods on nodes that are gone."""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.kinds import kinds_of
from k8snetlab.api.meta import Object, OwnerReference
from k8snetlab.api.selection import by_owner, pods_by_node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.changes import Answer, each, remove


def reconcile(now: Snapshot, before: Snapshot | None) -> Iterator[Answer]:
    doubtful: dict[tuple[type[Object], tuple[str, str]], Object] = {}
    there = [*now.objects]
    for type_ in dict.fromkeys((*there, *(before.objects if before else ()))):
        for key in now.changes(type_, before):
            obj = now.all(type_).get(key)
            if obj is not None and obj.metadata.ownerReferences:
                doubtful[type_, key] = obj
            if before is not None and (obj is None or _another(obj, before)):
                for dependent in there:
                    owned = now.select(dependent, by_owner, (type_.KIND, *key))
                    doubtful.update({(dependent, k): o for k, o in owned.items()})
    yield from each(doubtful.values(), lambda obj: _collected(obj, now), lambda obj: obj)
    for _, name in now.changes(Node, before):
        if before is not None and not now.get(Node, name):
            for pod in now.select(Pod, pods_by_node, name).values():
                yield from remove(pod, now)


def _collected(obj: Object, now: Snapshot) -> Iterator[Answer]:
    if all(_gone(obj, o, now) for o in obj.metadata.ownerReferences):
        yield from remove(obj, now)


def _another(obj: Object, before: Snapshot) -> bool:
    """Whether the object took the place of a deleted one of its name."""
    old = before.all(type(obj)).get(obj.key)
    return old is not None and old.metadata.uid != obj.metadata.uid


def _gone(obj: Object, reference: OwnerReference, now: Snapshot) -> bool:
    resource = kinds_of(now).named(reference.apiVersion, reference.kind)
    if resource is None:
        return False
    owner = now.all(resource.type).get((obj.namespace if resource.type.namespaced else "", reference.name))
    return owner is None or bool(reference.uid and owner.metadata.uid and owner.metadata.uid != reference.uid)
