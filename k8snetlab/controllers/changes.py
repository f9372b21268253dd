"""What a controller answers: objects to put, objects to remove, what to record as Events, when to look again, and what
it failed at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from k8snetlab.api.core import Condition, Node, Pod
from k8snetlab.api.meta import FOREGROUND, Object
from k8snetlab.api.selection import owned
from k8snetlab.api.snapshot import Change, Key, Snapshot
from k8snetlab.controllers.correlation import Note
from k8snetlab.controllers.endpoint_memory import EndpointMemory
from k8snetlab.controllers.identity import controller_of
from k8snetlab.controllers.replica_memory import ReplicaMemory

T = TypeVar("T")
DELETED = "deleted"
"""Stands for the deletionTimestamp that only the server, which has a clock, can give."""
MOMENT = "now"
"""Stands for the time of the write, in a status."""


class Record(msgspec.Struct, frozen=True):
    """A note that is true once the change of the object `of` (type and key) is stored."""

    note: Note
    of: tuple[type[Object], Key]


class Failed(msgspec.Struct, frozen=True):
    """A bug of a controller, met at one object (None: it is not known which)."""

    object: Object | None
    error: Exception


class Due(msgspec.Struct, frozen=True):
    """The object is to be looked at again at that time (seconds since 1970), whether it has changed or not."""

    of: tuple[type[Object], Key]
    at: float


Answer = Change | Record | Failed | Due
Failures = Mapping[tuple[str, str, str], str]
"""(kind, namespace, name) of objects for which a write was refused that is not tried again yet, and why."""


class Context(msgspec.Struct, frozen=True):
    """What controllers need to know and no object says. `architecture` is the machine's, in Go's words; `memory` and
    `replicas` may spare them work, and change nothing of what they answer; `time` is now, in seconds since 1970;
    `stored` is what the store has, where the snapshot that they are shown has the changes of this turn as well."""

    architecture: str = "amd64"
    failures: Failures = {}
    memory: EndpointMemory | None = None
    replicas: ReplicaMemory | None = None
    time: float = 0.0
    stored: Snapshot | None = None
    capacity: Mapping[str, str] = {}
    allocatable: Mapping[str, str] = {}
    """What this machine has, and what pods may request of a node, as a Node's status says it: {"cpu": "2", …}."""
    identity: str = ""
    """Who runs them, as holders of Leases are called; "" takes none."""
    stuck: frozenset[str] = frozenset()
    """The controllers that hang: they look at nothing."""
    component: str = ""
    """Whose controllers are run, in the words of `components`; "" for all."""


NOTHING = Context()


def each(
    things: Iterable[T], work: Callable[[T], Iterable[Answer]], about: Callable[[T], Object | None]
) -> Iterator[Answer]:
    """The work on each thing; one that fails is passed over, and `about` says which object that concerns."""
    for thing in things:
        try:
            answers = list(work(thing))
        except Exception as error:
            yield Failed(about(thing), error)
        else:
            yield from answers


def put(obj: Object) -> Change:
    return type(obj), obj.key, obj


def record(of: Object, note: Note) -> Record:
    return Record(note, (type(of), of.key))


def due(of: Object, at: float | None) -> tuple[Due, ...]:
    return () if at is None else (Due((type(of), of.key), at),)


def with_condition(conditions: tuple[Condition, ...], condition: Condition) -> tuple[Condition, ...]:
    """The conditions, with this one in place of the one of its type, unless that says the same."""
    for old in conditions:
        if old.type == condition.type and _untimed(old) == condition:
            return conditions
    return (*(c for c in conditions if c.type != condition.type), condition)


def _untimed(condition: Condition) -> Condition:
    return replace(condition, lastTransitionTime=None, lastUpdateTime=None)


def without_condition(conditions: tuple[Condition, ...], type_: str) -> tuple[Condition, ...]:
    return tuple(c for c in conditions if c.type != type_)


def remove(obj: Object, snapshot: Snapshot) -> tuple[Change, ...]:
    """The removal of an object; a pod is only marked, because it lives until its node has ended it (and because its
    name must not be given again before it is gone), and so is what has finalizers."""
    if obj.metadata.finalizers and not isinstance(obj, Pod):
        return () if obj.metadata.deletionTimestamp else (_marked(obj),)
    if isinstance(obj, Pod):
        if not obj.metadata.deletionTimestamp:
            return (_marked(obj),)
        if obj.metadata.deletionTimestamp == DELETED or not is_orphaned(obj, snapshot):
            return ()
    return ((type(obj), obj.key, None),)


def remove_after(obj: Object, snapshot: Snapshot) -> tuple[Change, ...]:
    """The removal of an object that is to go when all that it owns has gone."""
    if obj.metadata.deletionTimestamp or not any(owned(obj, snapshot)):
        return remove(obj, snapshot)
    finalizers = (*obj.metadata.finalizers, FOREGROUND)
    return (_marked(replace(obj, metadata=replace(obj.metadata, finalizers=finalizers))),)


def _marked(obj: Object) -> Change:
    return put(replace(obj, metadata=replace(obj.metadata, deletionTimestamp=DELETED)))


def owners_changed(type_: type[Object], owned: type[Object], now: Snapshot, before: Snapshot | None) -> Iterable[Key]:
    """Changed objects of a kind, and those whose owned objects changed."""
    keys = dict.fromkeys(now.changes(type_, before))
    for key in now.changes(owned, before):
        for obj in (now.all(owned).get(key), before.all(owned).get(key) if before else None):
            owner = controller_of(obj) if obj else None
            if obj and owner and owner.kind == type_.KIND:
                keys[obj.namespace, owner.name] = None
    return keys


def is_orphaned(pod: Pod, snapshot: Snapshot) -> bool:
    """Whether the pod's node is gone, so that none can end it (podgc's word)."""
    return snapshot.get(Node, pod.spec.nodeName) is None


def released(obj: T, finalizer: str) -> T:
    """The object without that finalizer."""
    known: Any = obj
    finalizers = tuple(one for one in known.metadata.finalizers if one != finalizer)
    changed: T = replace(known, metadata=replace(known.metadata, finalizers=finalizers))
    return changed


def active(pod: Pod) -> bool:
    """Neither on its way out nor at its end."""
    return not pod.metadata.deletionTimestamp and not pod.ended
