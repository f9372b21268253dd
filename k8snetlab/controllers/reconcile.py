"""All controllers in one step: from a snapshot to the writes that bring it nearer to what its objects ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec
from msgspec.structs import replace

from k8snetlab.api.core import Pod
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Change, Key, Snapshot
from k8snetlab.controllers import (
    deployments,
    endpoints,
    garbage,
    identity,
    ipam,
    namespaces,
    nodes,
    replica_sets,
    scheduler,
)
from k8snetlab.controllers.changes import DELETED, abandoned

Controller = Callable[[Snapshot, Snapshot | None], Iterable[Change]]

CONTROLLERS: tuple[Controller, ...] = (
    namespaces.reconcile,
    nodes.reconcile,
    garbage.reconcile,
    deployments.reconcile,
    replica_sets.reconcile,
    scheduler.reconcile,
    ipam.reconcile,
    endpoints.reconcile,
)
ROUNDS = 20
"""Controllers answer each other in a handful of rounds; what is left then waits for the next snapshot."""


class Write(msgspec.Struct, frozen=True):
    """What to do with an object. `object` is complete but for what the server gives: creationTimestamp,
    deletionTimestamp, resourceVersion and generation. For "update" and "delete" its resourceVersion is that of the
    snapshot, for compare and swap. `force`: a pod is to be removed at once, as its node is no more.
    """

    action: Literal["create", "update", "delete"]
    object: Object
    force: bool = False


def reconcile(snapshot: Snapshot, previous: Snapshot | None = None) -> list[Write]:
    """The writes of all controllers, one for each object, in the order in which they depend on each other.

    `previous` is the snapshot of the last call: only what changed since then is looked at (everything for None). A
    write that loses a race needs no retry: whoever won it changed the object, so the next call looks at it again.
    """
    now, before = snapshot, previous
    touched: dict[tuple[type[Object], Key], None] = {}
    for _ in range(ROUNDS):
        start = now
        for controller in CONTROLLERS:
            changes = [_identified(change, now) for change in controller(now, before)]
            if changes:
                touched.update(dict.fromkeys((type_, key) for type_, key, _ in changes))
                now = now.changed(changes, now.revision)
        if now is start:
            break
        before = start
    return [write for type_, key in touched for write in _write(snapshot, now, type_, key)]


def _identified(change: Change, snapshot: Snapshot) -> Change:
    """A new object gets its uid at once, because what it owns refers to it."""
    type_, key, obj = change
    if obj is None or obj.metadata.uid or key in snapshot.all(type_):
        return change
    metadata = replace(obj.metadata, uid=identity.uid(obj, snapshot.revision), generation=int(obj.counted))
    return type_, key, replace(obj, metadata=metadata)


def _write(snapshot: Snapshot, now: Snapshot, type_: type[Object], key: Key) -> Iterable[Write]:
    old, new = snapshot.all(type_).get(key), now.all(type_).get(key)
    if old is None:
        return (Write("create", new),) if new else ()
    if new is None:
        return (Write("delete", old, force=True),)
    if new.metadata.deletionTimestamp == DELETED:
        return (Write("delete", old, force=isinstance(old, Pod) and abandoned(old, now)),)
    return (Write("update", new),) if new != old else ()
