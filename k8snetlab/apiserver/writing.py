"""Writes of one object, as the API server does them: what a client may not set is kept as it is stored."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from k8snetlab.api import customizing, structural
from k8snetlab.api.body import read
from k8snetlab.api.core import Namespace, Node
from k8snetlab.api.custom import Custom
from k8snetlab.api.extensions import CustomResourceDefinition
from k8snetlab.api.former import renewed
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import Resource, encode, without_nulls
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.unserved import warning_of
from k8snetlab.api.words import describe, shorten
from k8snetlab.apiserver.ownership import Application, Updater, updated
from k8snetlab.apiserver.parts import FINALIZE, STATUS, has_status
from k8snetlab.apiserver.patches import Patch
from k8snetlab.apiserver.query import Wish
from k8snetlab.apiserver.scaling import scale_of, scaled
from k8snetlab.apiserver.shapes import type_of
from k8snetlab.apiserver.views import shown
from k8snetlab.cluster.admitted import now
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.controllers.identity import ALPHABET, MAX_GENERATED
from k8snetlab.controllers.namespaces import SYSTEM
from k8snetlab.errors import AlreadyExistsError, ManifestError, NotFoundError, RefusedError, RequestError

Json = dict[str, Any]
FIXED = (
    *("uid", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"),
    "generateName",
)
"""Of the metadata what no update changes."""


ATTEMPTS = 8
"""Names that are tried for an object with a generateName, as kube-apiserver does."""
WARNED = 20
"""Warnings of one write."""


class Writing:
    """Writes through the cluster; `warnings` of a write are texts for the header Warning."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def create(self, resource: Resource, namespace: str, body: Any, wish: Wish) -> tuple[Json, list[str]]:
        obj, unknown = self._decoded(resource, namespace, "", body, wish)
        if obj.metadata.resourceVersion:
            raise RequestError("resourceVersion should not be set on objects to be created")
        _refuse_ending(resource, self._cluster.snapshot)
        obj = _fresh(obj, resource)
        metadata = replace(obj.metadata, managedFields=())
        obj = replace(obj, metadata=metadata)
        _refuse_nowhere(obj, self._cluster.snapshot)
        warnings = [*_unknown(unknown, wish), *wish.guard(obj, None)]
        stored = await (self._named(obj, wish) if not metadata.name else self._stored(obj, wish))
        return shown(stored, resource), [*warnings, *_unchecked(stored, resource, self._cluster.snapshot)]

    async def _stored(self, obj: Object, wish: Wish) -> Object:
        return self._cluster.tried(obj) if wish.dry else await self._cluster.create(obj)

    async def _named(self, obj: Object, wish: Wish) -> Object:
        """The object under a name that begins as its `generateName`. Raises RequestError, AlreadyExistsError."""
        begin = obj.metadata.generateName
        if not begin:
            raise RequestError("name or generateName is required", "metadata.name")
        for attempt in range(1, ATTEMPTS + 1):
            name = begin[: MAX_GENERATED - 5] + "".join(random.choices(ALPHABET, k=5))
            try:
                return await self._stored(replace(obj, metadata=replace(obj.metadata, name=name)), wish)
            except AlreadyExistsError:
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError("the loop above has no end of its own")

    async def put(
        self, resource: Resource, old: Object, body: Any, wish: Wish, part: str = ""
    ) -> tuple[Json, list[str]]:
        if part == FINALIZE.name and isinstance(body, dict):
            spec = {} if body.get("spec") is None else without_nulls(body["spec"])
            if isinstance(spec, dict):
                body = {**body, "spec": {"finalizers": [], **spec}}  # none are no default here
        new, unknown = self._decoded(resource, old.namespace, old.name, body, wish)

        def change(stored: Object) -> Object:
            return _updated(new, stored, _Place(resource, part), wish)

        return await self._replaced(resource, old, change, wish, _unknown(unknown, wish))

    async def patch(
        self, resource: Resource, old: Object, patch: Patch, wish: Wish, part: str = ""
    ) -> tuple[Json, list[str]]:
        warnings: list[str] = []

        def patched(stored: Object) -> Object:
            merged = patch.applied(_builtins(stored, resource), resource.shape)
            metadata = merged.get("metadata")
            if not isinstance(metadata, dict):
                raise RequestError(f"metadata: expected a mapping, got {describe(metadata)}")
            if not patch.revision:
                merged["metadata"] = {**metadata, "resourceVersion": ""}
            new, unknown = self._decoded(resource, stored.namespace, stored.name, merged, wish)
            warnings[:] = _unknown(unknown, wish)
            return _updated(new, stored, _Place(resource, part), wish)

        return await self._replaced(resource, old, patched, wish, warnings)

    async def apply(
        self, resource: Resource, namespace: str, name: str, body: Any, wish: Wish
    ) -> tuple[Json, list[str], bool]:
        """Server-side apply; the last says whether the object was made. Raises RequestError."""
        application = Application(wish.manager, resource, f"{namespace}/{name}", body, wish.force, now())

        def applied(stored: Object | None) -> Object:
            live = _builtins(stored, resource) if stored is not None else None
            held = stored.metadata.managedFields if stored is not None else ()
            result = application.to(live, held)
            value, metadata = result.value, result.value.get("metadata")
            metadata = metadata if isinstance(metadata, dict) else {}
            value = {**value, "metadata": {**metadata, "name": metadata.get("name") or name}}
            value["metadata"].pop("managedFields", None)
            new, unknown = self._decoded(resource, namespace, name, value, wish)
            if unknown:
                raise application.refused(*(f".{path}: field not declared in schema" for path in unknown))
            if stored is not None:
                new = _updated(new, stored, _Place(resource), None)
            return replace(new, metadata=replace(new.metadata, managedFields=result.owners))

        old = self._cluster.snapshot.get(resource.type, name, namespace)
        if old is not None:
            return (*await self._replaced(resource, old, applied, wish, ()), False)
        if isinstance(body, dict) and isinstance(body.get("metadata"), dict) and body["metadata"].get("uid"):
            raise RequestError("uid mismatch: the provided object specified uid, and no existing object was found")
        _refuse_ending(resource, self._cluster.snapshot)
        obj = _fresh(applied(None), resource)
        _refuse_nowhere(obj, self._cluster.snapshot)
        guarded = wish.guard(obj, None)
        stored = await self._stored(obj, wish)
        return shown(stored, resource), [*guarded, *_unchecked(stored, resource, self._cluster.snapshot)], True

    async def scale(self, resource: Resource, old: Object, body: Any, wish: Wish) -> Json:
        """`body` is a Scale, or a Patch of it."""

        def change(stored: Any) -> Any:
            new: Any = scaled(
                stored, resource, body.applied(scale_of(stored, resource), "") if isinstance(body, Patch) else body
            )
            if not isinstance(body, Patch) or body.revision:
                _refuse_older(new.metadata.resourceVersion, stored)
            new = replace(new, metadata=stored.metadata)
            return _owned(new, stored, resource, wish)

        workload: Any = change(old) if wish.dry else await self._cluster.edit(old, change)
        return scale_of(workload, resource)

    async def _replaced(
        self,
        resource: Resource,
        old: Object,
        change: Callable[[Object], Object],
        wish: Wish,
        warnings: Sequence[str],
    ) -> tuple[Json, list[str]]:
        """`warnings` are those of `change`, which may fill them in."""
        guarded: Sequence[str] = ()

        def changed(stored: Object) -> Object:
            nonlocal guarded
            new = change(stored)
            guarded = wish.guard(new, stored)
            return new

        new = self._cluster.tried(changed(old), old) if wish.dry else await self._cluster.edit(old, changed)
        return shown(new, resource), [*warnings, *guarded, *_unchecked(new, resource, self._cluster.snapshot)]

    def _decoded(
        self, resource: Resource, namespace: str, name: str, body: Any, wish: Wish
    ) -> tuple[Object, list[str]]:
        """The body as an object of the path's kind, namespace and name, and the fields that its kind does not have."""
        if not isinstance(body, dict):
            raise RequestError(f"the body of the request holds no object, but {describe(body)}")
        version, kind = resource.version, resource.kind
        for field, wanted in (("apiVersion", version), ("kind", kind)):
            if body.get(field) not in (None, "", wanted):
                said = shorten(str(body[field]))
                raise RequestError(f"the {field} in the data ({said}) does not match the expected one ({wanted})")
        try:
            obj, unknown = _read({**body, "apiVersion": version, "kind": kind}, resource)
        except RefusedError:
            raise
        except ManifestError as error:
            raise RequestError(
                f'{kind} in version "{version}" cannot be handled as a {kind}: {error.message}'
            ) from error
        if unknown and wish.validation == "Strict":
            said = ", ".join(_unknown(unknown, wish))
            raise RequestError(f"strict decoding error: {said}", "fieldValidation=Strict was asked for")
        if name and obj.name != name:
            raise RequestError(
                f"the name of the object ({shorten(obj.name)}) does not match the name on the URL ({name})"
            )
        if not resource.type.namespaced:
            return (
                replace(obj, metadata=replace(obj.metadata, namespace="")) if obj.metadata.namespace else obj
            ), unknown
        given = body.get("metadata", {}).get("namespace") if isinstance(body.get("metadata"), dict) else None
        if namespace and given and given != namespace:
            raise RequestError(
                f"the namespace of the provided object does not match the namespace sent on the request: {given}"
            )
        return replace(obj, metadata=replace(obj.metadata, namespace=namespace or obj.namespace)), unknown


def _unknown(fields: Iterable[str], wish: Wish) -> list[str]:
    """In the words of warnings."""
    return [f'unknown field "{path}"' for path in fields] if wish.validation != "Ignore" else []


def _refuse_nowhere(obj: Object, snapshot: Snapshot) -> None:
    """Raises NotFoundError where the object's namespace is not there. Those of the system are made by controllers."""
    if obj.namespaced and obj.namespace not in SYSTEM and snapshot.get(Namespace, obj.namespace) is None:
        error = NotFoundError(f'namespaces "{shorten(obj.namespace)}" not found')
        error.about = ("", "namespaces", obj.namespace)
        raise error


def _refuse_ending(resource: Resource, snapshot: Snapshot) -> None:
    """Raises RequestError (405) where the definition of the kind is being deleted."""
    definition = snapshot.get(CustomResourceDefinition, f"{resource.plural}.{resource.group}")
    if resource.defined is not None and definition is not None and definition.metadata.deletionTimestamp:
        message = "create not allowed while custom resource definition is terminating"
        raise RequestError(message, "", "MethodNotAllowed", 405)


def _unchecked(obj: Object, resource: Resource, snapshot: Snapshot) -> list[str]:
    """What of a definition, or of an object that one is for, is not checked, in the words of warnings."""
    if isinstance(obj, CustomResourceDefinition):
        return [
            warning
            for number, version in enumerate(obj.spec.versions)
            for warning in structural.unchecked(
                version.schema.openAPIV3Schema, ("spec", "versions", number, "schema", "openAPIV3Schema")
            )
        ][:WARNED]
    if resource.defined is None:
        return [said] if (said := warning_of(obj, snapshot.lab)) else []
    found = []
    if resource.defined.deprecated:
        found.append(resource.defined.deprecationWarning or f"{resource.version} {resource.kind} is deprecated")
    if structural.has_rules(resource.defined.schema.openAPIV3Schema):
        found.append(f"rules in CEL (x-kubernetes-validations) of a {resource.kind} are not evaluated here")
    return found


class _Place(msgspec.Struct, frozen=True):
    """Where a write goes: to an object as a whole, to its status, or to what keeps a namespace (`finalize`)."""

    resource: Resource
    part: str = ""


def _read(body: Json, resource: Resource) -> tuple[Object, list[str]]:
    """The object, and the fields that its kind does not have. Raises ManifestError, InputError."""
    if resource.defined is not None:
        return customizing.decoded(body, resource)
    if resource.former is not None:
        body = renewed(resource.former.version, without_nulls(body))
        body = {**body, "apiVersion": resource.type.API_VERSION}
    return read(body)


def _builtins(obj: Object, resource: Resource) -> Json:
    """The object as it is patched: as JSON has it, whose lists are lists."""
    other = resource.defined is not None or resource.former is not None
    value: Json = msgspec.json.decode(msgspec.json.encode(shown(obj, resource)) if other else encode(obj))
    return value


def _fresh(obj: Object, resource: Resource) -> Object:
    """Without what a server alone says of a new object."""
    metadata = replace(
        obj.metadata,
        uid="",
        generation=0,
        creationTimestamp=None,
        deletionTimestamp=None,
        deletionGracePeriodSeconds=None,
        resourceVersion="",
    )
    obj = replace(obj, metadata=metadata)
    return obj if isinstance(obj, Node) else _with_status(obj, None, resource)


def _owned(new: Object, old: Object, resource: Resource, wish: Wish) -> Object:
    """`new` with who owns its fields after a write that is no apply."""
    if not old.metadata.managedFields and not new.metadata.managedFields:
        return new
    values = (msgspec.json.decode(encode(new)), msgspec.json.decode(encode(old)))
    return updated(new, old, values, Updater(wish.manager or "unknown", type_of(resource), resource.version, now()))


def _updated(new: Object, old: Object, place: _Place, wish: Wish | None) -> Object:
    """`new` as it is to be stored over `old`: a request writes either the spec or the status. Without a `wish` nobody
    becomes the owner of what changes."""
    if new.metadata.uid not in ("", old.metadata.uid):
        raise RequestError(
            f"Precondition failed: UID in precondition: {shorten(new.metadata.uid)}, UID in object meta: "
            f"{old.metadata.uid}",
            "",
            "Conflict",
            409,
        )
    _refuse_older(new.metadata.resourceVersion, old)
    if old.metadata.deletionTimestamp and set(new.metadata.finalizers) - set(old.metadata.finalizers):
        message = "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted"
        raise RequestError(message, "", "Invalid", 422)
    metadata = replace(new.metadata, **{field: getattr(old.metadata, field) for field in FIXED})
    if isinstance(old, Namespace) and isinstance(new, Namespace):
        if place.part == FINALIZE.name:
            return replace(old, spec=new.spec)
        new = replace(new, spec=old.spec)
    if place.part == STATUS.name:
        metadata = replace(
            metadata, ownerReferences=old.metadata.ownerReferences, managedFields=old.metadata.managedFields
        )
        return _with_status(replace(old, metadata=metadata), new, place.resource)
    new = _with_status(replace(new, metadata=metadata), old, place.resource)
    return _owned(new, old, place.resource, wish) if wish else new


def _with_status(obj: Object, other: Object | None, resource: Resource) -> Object:
    """`obj` with the status of `other`, or with none."""
    if isinstance(obj, Custom):
        if not has_status(resource):
            return obj
        content = {field: value for field, value in obj.content.items() if field != "status"}
        if isinstance(other, Custom) and "status" in other.content:
            content["status"] = other.content["status"]
        return replace(obj, content=content)
    status = getattr(obj, "status", None)
    if status is None:
        return obj
    return replace(obj, status=getattr(other, "status", None) if other is not None else type(status)())


def _refuse_older(revision: str, stored: Object) -> None:
    if revision not in ("", stored.metadata.resourceVersion):
        # No ConflictError: the door would take that for another daemon's quicker write, and try again.
        raise RequestError(
            f"Operation cannot be fulfilled on {stored.KIND.lower()} {stored.name!r}: the object has been modified; "
            "please apply your changes to the latest version and try again",
            "get it again and repeat the change",
            "Conflict",
            409,
        )
