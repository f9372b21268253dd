"""The way back: which of a lab's objects are kept in a snapshot of it, and what leads from others back to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from k8snetlab.api import decoding, scheme
from k8snetlab.api.core import Endpoints, Namespace, Node, Pod, PodStatus
from k8snetlab.api.discovery import MANAGED_BY, EndpointSlice
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import ATTACHED, Object, OwnerReference
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.stored import problem_of
from k8snetlab.api.taken import without_made
from k8snetlab.api.validate import validate
from k8snetlab.api.words import shorten
from k8snetlab.api.workloads import Job
from k8snetlab.controllers import endpoint_slices, identity, mirroring
from k8snetlab.errors import ManifestError

T = TypeVar("T", bound=Object)
SHOWN = 10
"""Wrong places of a file that are named at most."""
_SAME = (Lab, Node, Namespace)
"""Kinds of which one of the same name is the same one, whatever its uid."""


class Kept(msgspec.Struct, frozen=True):
    """An object as the store has it."""

    key: str
    """Below /registry/."""
    value: Any
    """The object, as JSON has it."""


class Return(msgspec.Struct, frozen=True):
    """What is to be written. An object that is `replaced` has its namesake's place, which goes."""

    created: tuple[Object, ...]
    changed: tuple[tuple[Object, Object], ...]
    """(as it is to be, as it is)"""
    replaced: tuple[tuple[Object, Object], ...]
    deleted: tuple[Object, ...]
    left_out: tuple[Pod, ...]
    """Pods whose namespace was plugged in by hand, and is no more."""


def kept(snapshot: Snapshot) -> list[Object]:
    """What of a lab a snapshot of it keeps, in the order of creation: no Event, no Lease, nothing that is about to go,
    and nothing that is made of other objects wherever they are read."""
    stored = without_made(obj for kind in snapshot.objects.values() for obj in kind.values())
    ending = {space.name for space in snapshot.all(Namespace).values() if space.metadata.deletionTimestamp}
    return [obj for obj in stored if not obj.metadata.deletionTimestamp and obj.namespace not in ending]


def entry_of(obj: Object) -> Kept:
    metadata = replace(obj.metadata, resourceVersion="")
    return Kept(scheme.store_key(obj), msgspec.json.decode(scheme.encode(replace(obj, metadata=metadata))))


def objects_of(entries: Iterable[Kept]) -> list[Object]:
    """The objects that were kept. Raises ManifestError, with the key and the field, where one is none, or one that no
    API server would have let through."""
    found, problems, keys = list[Object](), list[str](), set[str]()
    for entry in entries:
        try:
            obj = _object(entry)
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            problems.append(f"{shorten(entry.key)}: {error}")
            continue
        if entry.key in keys:
            problems.append(f"{shorten(entry.key)}: it stands there twice")
        keys.add(entry.key)
        found.append(obj)
    if not problems and len([obj for obj in found if isinstance(obj, Lab)]) != 1:
        problems.append("it does not hold exactly one Lab")
    if not problems:
        problems += [str(problem) for problem in validate(found) if problem.severity == "error"]
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise ManifestError([*problems[:SHOWN], *more], "nothing was changed")
    return found


def back(wanted: Iterable[Object], now: Snapshot, at: str) -> Return:
    """What leads from `now` to the objects that were kept; `at` is the time of day, as Kubernetes writes it.

    What users may set is as it was kept, and so are names, addresses, ports and subnets. What is observed stays as it
    is observed: a pod that still runs runs on, and one that has to be made anew gets another uid. Everything else that
    is made anew has the uid it had, since others name it.
    """
    wanted = list(wanted)
    uids = _uids(wanted, now)
    created, changed, replaced, left_out = list[Object](), list[tuple[Object, Object]](), [], list[Pod]()
    for saved in wanted:
        obj = _owned(saved, uids)
        old = now.get(type(obj), obj.name, obj.namespace)
        if old is not None and _is_same(obj, old):
            new = _brought_back(obj, old)
            if new != old and not (_is_made(obj) and _is_made(old)):
                changed.append((new, old))
            continue
        if isinstance(obj, Pod) and ATTACHED in obj.metadata.annotations:
            left_out.append(obj)
            continue
        new = _anew(obj, now, at)
        if old is None:
            created.append(new)
        else:
            replaced.append((new, old))
    keys = {(type(obj), obj.key) for obj in wanted} - {(Pod, pod.key) for pod in left_out}
    stored = without_made(chain.from_iterable(kind.values() for kind in now.objects.values()))
    deleted = [obj for obj in stored if (type(obj), obj.key) not in keys]
    return Return(tuple(created), tuple(changed), tuple(replaced), tuple(deleted), tuple(left_out))


def _object(entry: Kept) -> Object:
    data = msgspec.json.encode(entry.value)
    resource = scheme.resource_for_key(entry.key, data)
    if resource is None:
        raise ValueError("no kind that this k8snetlab knows")
    obj = decoding.decode(resource.type, data)
    if scheme.store_key(obj) != entry.key:
        raise ValueError(f"the object names itself {shorten(scheme.store_key(obj))}")
    if problem := problem_of(obj):
        raise ValueError(problem)
    return obj


def _uids(wanted: Iterable[Object], now: Snapshot) -> Mapping[str, str]:
    """By the uid that an object had, the uid that it has."""
    found: dict[str, str] = {}
    for obj in wanted:
        old = now.get(type(obj), obj.name, obj.namespace) if isinstance(obj, _SAME) else None
        if old is not None:
            found[obj.metadata.uid] = old.metadata.uid
    return found


def _owned(obj: T, uids: Mapping[str, str]) -> T:
    def named(reference: OwnerReference) -> OwnerReference:
        return replace(reference, uid=uids.get(reference.uid, reference.uid))

    owners = tuple(map(named, obj.metadata.ownerReferences))
    uid = uids.get(obj.metadata.uid, obj.metadata.uid)
    return replace(obj, metadata=replace(obj.metadata, uid=uid, ownerReferences=owners))


def _is_same(saved: Object, old: Object) -> bool:
    """Whether the object that is there can become again what was kept."""
    same = saved.metadata.uid == old.metadata.uid
    if not isinstance(saved, Pod) or not isinstance(old, Pod):
        return same
    if old.metadata.deletionTimestamp or (old.ended and not saved.ended):
        return False
    if (saved.spec.nodeName, saved.ips) != (old.spec.nodeName, old.ips):
        return False
    return same or saved.spec == old.spec


def _is_made(obj: Object) -> bool:
    """Whether a controller makes it of Services and pods that are there, whatever was written into it."""
    labels = obj.metadata.labels
    if isinstance(obj, EndpointSlice):
        return labels.get(MANAGED_BY) in (endpoint_slices.MANAGER, mirroring.MANAGER)
    return isinstance(obj, Endpoints) and endpoint_slices.ENDPOINTS_LABELS.items() <= labels.items()


def _brought_back(saved: T, old: T) -> T:
    metadata = replace(
        saved.metadata,
        uid=old.metadata.uid,
        resourceVersion=old.metadata.resourceVersion,
        creationTimestamp=old.metadata.creationTimestamp,
        generation=old.metadata.generation,
    )
    obj: Any = replace(saved, metadata=metadata)
    if hasattr(obj, "status") and not isinstance(obj, Job) and not old.metadata.deletionTimestamp:
        obj = replace(obj, status=old.status)  # type: ignore[attr-defined]
    if obj.counted and getattr(obj, "spec", None) != getattr(old, "spec", None):
        obj = replace(obj, metadata=replace(obj.metadata, generation=old.metadata.generation + 1))
    brought: T = obj
    return brought


def _anew(obj: Object, now: Snapshot, at: str) -> Object:
    if isinstance(obj, Node):
        return replace(obj, status=replace(obj.status, conditions=()))
    if not isinstance(obj, Pod) or obj.ended:
        return obj
    status = obj.status
    fresh = PodStatus(podIP=status.podIP, podIPs=status.podIPs, hostIP=status.hostIP, qosClass=status.qosClass)
    metadata = replace(obj.metadata, uid=identity.uid(obj, now.revision), creationTimestamp=at)
    return replace(obj, metadata=metadata, status=fresh)
