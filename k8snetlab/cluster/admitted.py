"""Objects on their way into the store: admitted, stamped with what only a server gives, and encoded."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple, TypeVar

import msgspec

from k8snetlab.api.core import Namespace, Pod
from k8snetlab.api.custom import Custom
from k8snetlab.api.extensions import CLEANUP, CustomResourceDefinition
from k8snetlab.api.lab import Lab
from k8snetlab.api.lines import LINES
from k8snetlab.api.meta import FOREGROUND, SOURCE, Object, ObjectMeta
from k8snetlab.api.networking import CLASS, Ingress
from k8snetlab.api.pod_state import stopped
from k8snetlab.api.scheme import encode, resource_of, store_key
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.stamps import stamped
from k8snetlab.controllers import Write
from k8snetlab.controllers.admission import admit
from k8snetlab.controllers.returning import Return
from k8snetlab.errors import AlreadyExistsError, ConflictError, NotFoundError, TerminatingError
from k8snetlab.store.protocol import Create, Delete, StoreWrite, Update

T = TypeVar("T", bound=Object)


class Planned(NamedTuple):
    """A write to the store, and the object that its value was encoded from."""

    write: StoreWrite
    obj: Object


def values(writes: Iterable[Planned]) -> dict[bytes, Object]:
    """The objects by what is stored of them."""
    return {write.value: obj for write, obj in writes if not isinstance(write, Delete)}


def planned(write: Write, snapshot: Snapshot) -> Planned | None:
    """The admitted write to the store; None when nothing differs. Raises what refuses it."""
    old = snapshot.get(type(write.object), write.object.name, write.object.namespace)
    obj = write.object
    if write.action == "create":
        if old is not None:
            raise AlreadyExistsError(f"{resource_of(obj).plural} {obj.name!r} already exists")
        new = admit_create(obj, snapshot, ours=bool(write.by))
        return put(store_key(new), new, None)
    if old is None:
        raise NotFoundError(f"{obj.KIND.lower()} {obj.name!r} not found")
    if write.action == "delete":
        if write.force and isinstance(old, Pod) and old.metadata.finalizers:
            old = stopped(old, now())  # whoever waits for its end would wait for ever: its node is no more
        return deletion(old, write.force, foreground=write.foreground, released=write.released)
    if obj.metadata.resourceVersion not in ("", old.metadata.resourceVersion):
        raise ConflictError(f"{obj.KIND.lower()} {obj.name!r} was changed meanwhile")
    new = admit_update(obj, old, snapshot, ours=bool(write.by))
    if new is old:
        return None
    return Planned(Delete(store_key(new)), new) if is_over(new) else put(store_key(new), new, old)


def deletion(
    old: Object, force: bool, grace: int | None = None, *, foreground: bool = False, released: tuple[str, ...] = ()
) -> Planned | None:
    """The write that deletes `old`. A running pod is only marked, and goes when its agent has stopped it, which has
    `grace` seconds (None: the pod's own); what has finalizers goes when it has none any more, with `foreground` it
    gets the one that keeps it until all that it owns has gone; those that are `released` go with it. None where it is
    marked already, and gets no less time than it has."""
    metadata = old.metadata
    if released:
        finalizers = tuple(name for name in metadata.finalizers if name not in released)
        metadata = msgspec.structs.replace(metadata, finalizers=finalizers)
    running = old if isinstance(old, Pod) and old.spec.nodeName and old.ips and not force else None
    added = _keeping(old, foreground) if not metadata.deletionTimestamp else ()
    if added:
        metadata = msgspec.structs.replace(metadata, finalizers=tuple(dict.fromkeys((*metadata.finalizers, *added))))
    if not running and not metadata.finalizers and not _kept(old):
        return Planned(Delete(store_key(old)), old)
    own = running.spec.terminationGracePeriodSeconds if running else 0
    seconds = own if grace is None or not running else grace
    if metadata.deletionTimestamp and seconds >= (metadata.deletionGracePeriodSeconds or 0):
        return None
    metadata = msgspec.structs.replace(
        metadata, deletionTimestamp=metadata.deletionTimestamp or now(), deletionGracePeriodSeconds=seconds
    )
    new = msgspec.structs.replace(old, metadata=metadata)
    if isinstance(new, Pod) and not (new.spec.nodeName and new.ips):
        new = stopped(new, now())  # nothing of it has ever run
    if isinstance(new, Namespace):
        new = msgspec.structs.replace(new, status=msgspec.structs.replace(new.status, phase="Terminating"))
    return put(store_key(old), new, old)


def never_deleted(old: T) -> T:
    """As it is to be stored for the first time, once more."""
    metadata = msgspec.structs.replace(
        old.metadata, uid="", resourceVersion="", deletionTimestamp=None, deletionGracePeriodSeconds=None
    )
    return msgspec.structs.replace(old, metadata=metadata)


def _keeping(obj: Object, foreground: bool) -> tuple[str, ...]:
    """The finalizers that a deletion begins with."""
    cleanup = (CLEANUP,) if isinstance(obj, CustomResourceDefinition) else ()
    return (*cleanup, *((FOREGROUND,) if foreground else ()))


def _kept(obj: Object) -> bool:
    """Whether it is a namespace that waits for what is in it."""
    return isinstance(obj, Namespace) and bool(obj.spec.finalizers)


def is_over(obj: Object) -> bool:
    """Whether an object that is deleted has lost what kept it, so that it goes."""
    metadata = obj.metadata
    ended = bool(metadata.deletionTimestamp) and metadata.deletionGracePeriodSeconds == 0
    return ended and not metadata.finalizers and not _kept(obj)


def admit_create(obj: T, snapshot: Snapshot, *, ours: bool = False, right: bool = False) -> T:
    """The admitted object, to be stored for the first time; `ours`: by a controller; `right` as in `admit`."""
    refuse_ending(obj, snapshot)
    moment = now()
    obj = stamped(obj, None, moment)
    metadata = msgspec.structs.replace(
        obj.metadata, resourceVersion="", creationTimestamp=moment, generation=int(obj.counted)
    )
    return admit(msgspec.structs.replace(obj, metadata=metadata), None, snapshot, ours=ours, right=right)


def admit_update(obj: T, old: T, snapshot: Snapshot, *, ours: bool = False) -> T:
    """The admitted object, to be stored over `old`; `old` itself if nothing differs. `ours`: by a controller."""
    new = admit(stamped(obj, old, now()), old, snapshot, ours=ours)
    if stored(new) == stored(old):
        return old
    if not new.counted or _desired(new) == _desired(old):
        return new
    metadata = msgspec.structs.replace(new.metadata, generation=old.metadata.generation + 1)
    return msgspec.structs.replace(new, metadata=metadata)


def _desired(obj: Object) -> object:
    """What a person asks for with an object: its spec, or all but its metadata where its kind has no spec. Binding a
    pod to a node does not change it."""
    if isinstance(obj, Pod):
        return msgspec.structs.replace(obj.spec, nodeName="")
    if isinstance(obj, Custom):
        return {field: value for field, value in obj.content.items() if field != "status"}
    return obj.spec if hasattr(obj, "spec") else msgspec.structs.replace(obj, metadata=ObjectMeta())


def admit_apply(obj: Object, old: Object, snapshot: Snapshot) -> Object:
    """`admit_update` for a manifest, which has no identity and no status; `old` itself if only its file is another, and
    no line that is kept."""
    new = admit_update(_inherit(_classed(obj, old), old), old, snapshot)
    written = obj.metadata.annotations
    if new is old and written.get(LINES) in (None, old.metadata.annotations.get(LINES)):
        return old
    return _annotated(new, {key: written[key] for key in (SOURCE, LINES) if key in written})


def _classed(obj: Object, old: Object) -> Object:
    """An Ingress whose manifest names no class keeps the one that it was given when it was made."""
    if not isinstance(obj, Ingress) or not isinstance(old, Ingress):
        return obj
    if obj.spec.ingressClassName is not None or CLASS in obj.metadata.annotations:
        return obj
    spec = msgspec.structs.replace(obj.spec, ingressClassName=old.spec.ingressClassName)
    return msgspec.structs.replace(obj, spec=spec)


def _annotated(obj: Object, more: dict[str, str]) -> Object:
    annotations = {**obj.metadata.annotations, **more}
    return msgspec.structs.replace(obj, metadata=msgspec.structs.replace(obj.metadata, annotations=annotations))


def refuse_ending(obj: Object, snapshot: Snapshot) -> None:
    """Raises TerminatingError where the namespace of a new object is being deleted."""
    namespace = snapshot.get(Namespace, obj.namespace) if obj.namespaced else None
    if namespace is not None and namespace.metadata.deletionTimestamp:
        group = obj.API_VERSION.rpartition("/")[0]
        what = f"{resource_of(obj).plural}.{group}" if group else resource_of(obj).plural
        raise TerminatingError(
            f'{what} "{obj.name}" is forbidden: unable to create new content in namespace {namespace.name} because it '
            "is being terminated",
            "wait until it is gone, and create it anew",
        )


def returned(back: Return) -> list[Planned]:
    """The writes that lead back to a snapshot of the lab: first what goes, then what comes, the Lab at its head."""
    gone = [Planned(Delete(store_key(obj)), obj) for obj in (*(old for _, old in back.replaced), *back.deleted)]
    changed = [put(store_key(new), new, old) for new, old in back.changed]
    made = [put(store_key(new), new, None) for new in (*(new for new, _ in back.replaced), *back.created)]
    return [*gone, *sorted((*changed, *made), key=lambda one: not isinstance(one.obj, Lab))]


def put(key: str, new: Object, old: Object | None) -> Planned:
    value = encode(stored(new))
    if old is None:
        return Planned(Create(key, value), new)
    return Planned(Update(key, value, int(old.metadata.resourceVersion or 0)), new)


def _inherit(new: Object, old: Object) -> Object:
    """`new` as a manifest for `old`: identity and status stay those of the stored object."""
    metadata = msgspec.structs.replace(
        new.metadata,
        uid=old.metadata.uid,
        namespace=old.metadata.namespace,
        resourceVersion=old.metadata.resourceVersion,
        generation=old.metadata.generation,
        creationTimestamp=old.metadata.creationTimestamp,
        deletionTimestamp=old.metadata.deletionTimestamp,
        deletionGracePeriodSeconds=old.metadata.deletionGracePeriodSeconds,
        finalizers=new.metadata.finalizers or old.metadata.finalizers,
        managedFields=old.metadata.managedFields,
        ownerReferences=old.metadata.ownerReferences,
        annotations={**new.metadata.annotations, **_kept_annotations(old)},
    )
    new = msgspec.structs.replace(new, metadata=metadata)
    if isinstance(new, Custom) and isinstance(old, Custom) and "status" in old.content:
        return msgspec.structs.replace(new, content={"status": old.content["status"], **new.content})
    status = getattr(old, "status", None)
    if status is not None and getattr(new, "status", None) == type(status)():
        new = msgspec.structs.replace(new, status=status)
    return new


def _kept_annotations(old: Object) -> dict[str, str]:
    """Annotations that controllers and `up` wrote, which no manifest carries."""
    own = ("k8snetlab/", "flannel.alpha.coreos.com/", "deployment.kubernetes.io/", "deprecated.daemonset.template.")
    return {key: value for key, value in old.metadata.annotations.items() if key.startswith(own)}


def stored(obj: T) -> T:
    """The object as it is kept: without resourceVersion, which the store tells."""
    if not obj.metadata.resourceVersion:
        return obj
    return msgspec.structs.replace(obj, metadata=msgspec.structs.replace(obj.metadata, resourceVersion=""))


def now() -> str:
    """RFC 3339, in seconds, as Kubernetes writes timestamps."""
    return _at(int(time.time()))


@lru_cache(maxsize=1)
def _at(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
