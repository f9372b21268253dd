"""What controllers fail at: which objects it concerns, and how it is worded."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from k8snetlab.api.apps import ReplicaSet
from k8snetlab.api.core import Namespace, Node
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import BY_KIND
from k8snetlab.api.snapshot import Change, Snapshot
from k8snetlab.controllers import Write
from k8snetlab.controllers.correlation import Note
from k8snetlab.controllers.deployments import SET_FAILURE
from k8snetlab.controllers.identity import controller_of
from k8snetlab.errors import K8sNetLabError
from k8snetlab.messages.status import ControllerFailure

MESSAGE = 512
Concerned = tuple[str, str, str]
"""(kind, namespace, name)"""


class Failing(ControllerFailure, frozen=True):
    """As `status` tells it, and in words."""

    @property
    def concerned(self) -> str:
        """ "ReplicaSet default/web-5d4f8c7b9", "" for all of the controller's work."""
        return f"{self.kind} {'/'.join(word for word in (self.namespace, self.name) if word)}".strip()

    def __str__(self) -> str:
        what = f"{self.controller}: {self.concerned}: " if self.kind else f"{self.controller}: "
        times = "once" if self.tries == 1 else f"{self.tries} times"
        return f"{what}{self.message} (tried {times} since {time.strftime('%H:%M:%S', time.localtime(self.since))})"


def concerned(write: Write) -> Concerned:
    """Whom a refused write concerns: the object, or the owner that wanted it made (that Services want slices changed is
    theirs too)."""
    obj = write.object
    owner = controller_of(obj) if write.action == "create" or isinstance(obj, EndpointSlice) else None
    if owner is not None and (resource := BY_KIND.get(owner.kind)):
        return (owner.kind, obj.namespace if resource.type.namespaced else "", owner.name)
    return (obj.KIND, *obj.key)


def same(one: Write, other: Write) -> bool:
    return (one.action, one.object) == (other.action, other.object)


def depends(write: Write, lacking: set[Concerned]) -> bool:
    """Whether it is the creation of something whose owner could not be created."""
    return bool(lacking) and write.action == "create" and concerned(write) in lacking


def batches(writes: Iterable[Write], size: int) -> Iterator[list[Write]]:
    """In order; what is to be created is never in one batch with its owner, of which it is then known whether it is."""
    batch: list[Write] = []
    made: set[Concerned] = set()
    for write in writes:
        if len(batch) == size or depends(write, made):
            yield batch
            batch, made = [], set()
        batch.append(write)
        if write.action == "create":
            made.add((write.object.KIND, *write.object.key))
    if batch:
        yield batch


def find(concerned: Concerned, snapshot: Snapshot) -> Object | None:
    kind, *key = concerned
    resource = BY_KIND.get(kind)
    return snapshot.all(resource.type).get((key[0], key[1])) if resource else None


def version(owner: Object | None) -> tuple[str, int]:
    """What differs once somebody asks for something else, or, for kinds that are not asked for, changes them."""
    if owner is None:
        return ("", 0)
    meta = owner.metadata
    return (meta.uid, meta.generation if owner.counted else int(meta.resourceVersion or 0))


def frame(snapshot: Snapshot) -> tuple[object, ...]:
    """What concerns every object: the Lab's spec, the nodes and the namespaces."""
    return (snapshot.lab.spec, tuple(snapshot.all(Node)), tuple(snapshot.all(Namespace)))


def without(previous: Snapshot | None, again: Iterable[Concerned] | None) -> Snapshot | None:
    """A snapshot in which these objects were not there yet, so that they are looked at; None when it is not known
    which."""
    if previous is None or again is None:
        return previous
    changes = list(forgotten(again, previous))
    return None if any(change is None for change in changes) else previous.changed(filter(None, changes), 0)


def forgotten(again: Iterable[Concerned], previous: Snapshot) -> Iterator[Change | None]:
    for concerned in again:
        found = find(concerned, previous)
        yield (type(found), found.key, None) if found else None


def message(error: Exception) -> str:
    text = error.message if isinstance(error, K8sNetLabError) else f"{type(error).__name__}: {error} (a bug)"
    text = " ".join(text.split())
    return text if len(text) <= MESSAGE else text[: MESSAGE - 3] + "..."


def note(owner: Object, by: str, write: Write | None, message: str) -> Note:
    if write is None:
        return Note(owner, "Warning", "FailedSync", f"Error syncing: {message}", by)
    if by == "endpoint-slice-controller":
        text = f"Error updating Endpoint Slices for Service {owner.namespace}/{owner.name}: {message}"
        return Note(owner, "Warning", "FailedToUpdateEndpointSlices", text, by)
    if write.action == "create" and isinstance(write.object, ReplicaSet):
        text = f'Failed to create new replica set "{write.object.name}": {message}'
        return Note(owner, "Warning", SET_FAILURE, text, by)
    doing = {"create": "creating", "update": "updating", "delete": "deleting"}[write.action]
    return Note(owner, "Warning", f"Failed{write.action.capitalize()}", f"Error {doing}: {message}", by)
