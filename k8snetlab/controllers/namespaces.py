"""Namespaces: the system's own, those that objects are in, and the end of what was in a deleted one."""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.core import Namespace
from k8snetlab.api.meta import Object, ObjectMeta
from k8snetlab.api.snapshot import Change, Snapshot
from k8snetlab.controllers.changes import put, remove

SYSTEM = ("default", "kube-system", "kube-public", "kube-node-lease")


def reconcile(now: Snapshot, before: Snapshot | None) -> Iterator[Change]:
    changed = {name for _, name in now.changes(Namespace, before)}
    gone = {name for name in changed if not now.get(Namespace, name)} - set(SYSTEM)
    if gone:
        for type_ in _namespaced(now):
            for obj in now.all(type_).values():
                if obj.namespace in gone:
                    yield from remove(obj, now)
    wanted = dict.fromkeys(SYSTEM) if changed or not before else {}
    for type_ in (type_ for type_ in _namespaced(now) if not type_.REPORTS):
        for key in now.changes(type_, before):
            new = now.all(type_).get(key)
            if new and not new.metadata.deletionTimestamp and key[0] not in gone:
                wanted[key[0]] = None
    for name in wanted:
        if not now.get(Namespace, name):
            yield put(Namespace(metadata=ObjectMeta(name=name, labels={"kubernetes.io/metadata.name": name})))


def _namespaced(now: Snapshot) -> list[type[Object]]:
    return [type_ for type_ in now.types() if type_.namespaced]
