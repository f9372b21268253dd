"""The OpenAPI documents, version 3 by group and version and version 2 as a whole, made of what the kinds are.

Pure. Source: kube-openapi (pkg/spec3, the extensions x-kubernetes-…); the schemas are of `api.reference`, which has
every field that Kubernetes knows, and of our types where that has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

import msgspec

from k8snetlab.api import reference
from k8snetlab.api.customizing import schema_of
from k8snetlab.api.former import CHANGED
from k8snetlab.api.kinds import BUILT_IN, Kinds
from k8snetlab.api.merging import KEYS, RETAINED, SETS
from k8snetlab.api.schema import PRESERVE
from k8snetlab.api.scheme import Resource
from k8snetlab.apiserver import describing
from k8snetlab.apiserver.discovery import split
from k8snetlab.apiserver.operations import operations
from k8snetlab.apiserver.swagger import V2, V3, encoded, path_item

Json = dict[str, Any]
META = "io.k8s.apimachinery.pkg.apis.meta.v1"
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_META_TYPES = {"ObjectMeta", "OwnerReference", "ManagedFieldsEntry", "LabelSelector", "LabelSelectorRequirement"}
_SCALARS: dict[str, Json] = {
    "s": {"type": "string"},
    "i": {"type": "integer", "format": "int32"},
    "l": {"type": "integer", "format": "int64"},
    "n": {"type": "number"},
    "b": {"type": "boolean"},
    "d": {"type": "string"},
    "t": {"type": "string", "format": "date-time"},
    "o": {"type": "object"},
}
MADE = 64
"""Documents of kinds that users bring which are kept."""
INFO = {"title": "k8snetlab", "version": "v1.36.0"}


def index(kinds: Kinds) -> Json:
    """/openapi/v3: where the document of each group and version is."""
    found = {}
    for version in kinds.versions:
        path = path_of(version)
        digest = hashlib.sha256(document(version, kinds)).hexdigest()[:32].upper()
        found[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": found}


def path_of(group_version: str) -> str:
    return f"apis/{group_version}" if "/" in group_version else f"api/{group_version}"


def document(group_version: str, kinds: Kinds) -> bytes:
    """JSON of OpenAPI 3; b"" where there is no such version."""
    served = kinds.served(group_version)
    if all(resource.defined is None for resource in served):
        return _built_in(group_version)
    return _made(group_version, kinds)


@cache
def _built_in(group_version: str) -> bytes:
    return _document(BUILT_IN.served(group_version))


@lru_cache(maxsize=MADE)
def _made(group_version: str, kinds: Kinds) -> bytes:
    return _document(kinds.served(group_version))


def _document(served: tuple[Resource, ...]) -> bytes:
    if not served:
        return b""
    schemas = dict(sorted((name, schema) for resource in served for name, schema in _schemas(resource, V3)))
    paths = {path: value for one in served for path, value in operations(one, f"{V3}{name_for(one)}").items()}
    value = {"openapi": "3.0.0", "info": INFO, "paths": dict(sorted(paths.items())), "components": {"schemas": schemas}}
    return msgspec.json.encode(value)


@lru_cache(maxsize=2)
def swagger(kinds: Kinds) -> bytes:
    """JSON of OpenAPI 2, of all versions together."""
    return msgspec.json.encode(_whole(kinds))


@lru_cache(maxsize=2)
def swagger_protobuf(kinds: Kinds) -> bytes:
    """The same as protobuf."""
    return encoded(_whole(kinds))


def _whole(kinds: Kinds) -> Json:
    schemas = dict(sorted((name, schema) for resource in kinds.all for name, schema in _schemas(resource, V2)))
    items = {path: item for one in kinds.all for path, item in operations(one, f"{V3}{name_for(one)}").items()}
    paths = {path: path_item(item) for path, item in sorted(items.items())}
    return {"swagger": "2.0", "info": INFO, "paths": paths, "definitions": schemas}


@cache
def _owners() -> dict[str, str]:
    """The package of each type of the reference: that of the first group whose kinds have it."""
    found = dict.fromkeys(_META_TYPES, META)
    for resource in sorted(BUILT_IN.all, key=lambda one: "/" in one.version):
        group, version = split(resource.version)
        package = f"io.k8s.api.{(group or 'core').partition('.')[0]}.{version}"
        for type_ in _reached(resource.shape):
            if reference.fields(type_):
                found.setdefault(type_, package)
    return found


def name_of(type_: str) -> str:
    """A type's name in the documents: io.k8s.api.core.v1.Pod."""
    return f"{_owners().get(type_, 'k8snetlab.v1alpha1')}.{type_}"


def name_for(resource: Resource) -> str:
    """A kind's: of one that users bring, its group's in the order of packages: io.example.v1.Widget."""
    if resource.defined is None and resource.former is None:
        return name_of(resource.shape)
    group, version = split(resource.version)
    if resource.former is not None:
        return f"io.k8s.api.{group.partition('.')[0]}.{version}.{resource.kind}"
    return ".".join((*reversed(group.split(".")), version, resource.kind))


def _reached(type_: str) -> list[str]:
    """The type and all that it is made of."""
    found, waiting = dict[str, None](), [type_]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found[one] = None
            waiting += [part for part in map(_inner, reference.fields(one).values()) if len(part) > 1]
    return list(found)


def _inner(kind: str) -> str:
    while kind[0] in "[{":
        kind = kind[1:-1]
    return kind


def _schemas(resource: Resource, base: str) -> Iterator[tuple[str, Json]]:
    """Of a kind, its list and all that they are made of; `base` begins references."""
    group, version = split(resource.version)
    kind = {"group": group, "version": version, "kind": resource.kind}
    whole = name_for(resource)
    for name, schema in _made_of(resource, base):
        yield name, {**schema, "x-kubernetes-group-version-kind": [kind]} if name == whole else schema
    yield from _either(base)
    yield f"{META}.ListMeta", _list_meta()
    yield (
        f"{whole}List",
        {
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": _reference(f"{META}.ListMeta", base),
                "items": {"type": "array", "items": _reference(whole, base)},
            },
            "x-kubernetes-group-version-kind": [{**kind, "kind": resource.list_kind}],
        },
    )


def _either(base: str) -> Iterator[tuple[str, Json]]:
    """The types of which a value may be of two. Version 2 has no `oneOf`."""
    if base == V2:
        yield INT_OR_STRING, {"type": "string", "format": "int-or-string"}
        yield QUANTITY, {"type": "string"}
    else:
        text = {"type": "string"}
        yield INT_OR_STRING, {"oneOf": [{"type": "integer"}, text], "format": "int-or-string"}
        yield QUANTITY, {"oneOf": [text, {"type": "number"}]}


def _made_of(resource: Resource, base: str) -> Iterator[tuple[str, Json]]:
    if resource.defined is not None:
        yield name_for(resource), _defined(resource, base)
        for type_ in _reached("ObjectMeta"):
            yield name_of(type_), _of_reference(type_, base)
        return
    if resource.former is not None:
        yield name_for(resource), _of_old_times(resource, base)
        for type_ in _reached(resource.shape)[1:]:
            yield name_of(type_), _of_reference(type_, base)
        return
    if reference.fields(resource.shape):
        for type_ in _reached(resource.shape):
            yield name_of(type_), _of_reference(type_, base)
        return
    _, parts = msgspec.json.schema_components([resource.type], ref_template=f"{base}k8snetlab.v1alpha1.{{name}}")
    for name, schema in parts.items():
        schema = _version_2(_plain(schema)) if base == V2 else _plain(schema)
        if name == resource.kind:
            text = {"type": "string"}
            schema["properties"] = {"apiVersion": text, "kind": text, **schema["properties"]}
            schema.pop("required", None)
        yield f"k8snetlab.v1alpha1.{name}", schema


def _defined(resource: Resource, base: str) -> Json:
    """Of a definition's schema, with what every object has."""
    schema = dict(schema_of(resource))
    if base == V2:
        schema = _version_2(schema)
    of_string, of_meta = {"type": "string"}, _reference(name_of("ObjectMeta"), base)
    types = {"apiVersion": of_string, "kind": of_string, "metadata": of_meta}
    own = {field: {**_said(describing.of_field("", field)), **type_} for field, type_ in types.items()}
    return {**schema, "properties": {**(schema.get("properties") or {}), **own}}


def _of_old_times(resource: Resource, base: str) -> Json:
    """Of a kind whose fields have changed since, only what has not."""
    schema = _of_reference(resource.shape, base)
    if resource.kind in CHANGED:
        schema["properties"]["spec"] = {"type": "object", PRESERVE: True}
    return schema


def _version_2(schema: Any) -> Any:
    """A schema as OpenAPI 2 can say it."""
    if isinstance(schema, list):
        return [_version_2(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get(PRESERVE) and not schema.get("properties"):
        return {key: value for key, value in schema.items() if key in ("description", "type", PRESERVE)}
    left = ("oneOf", "anyOf", "not", "nullable", "allOf", "default")
    found = {key: value for key, value in schema.items() if key not in left}
    if "properties" in found:
        found["properties"] = {key: _version_2(value) for key, value in found["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in found:
            found[key] = _version_2(found[key])
    return found


def _plain(schema: Any) -> Any:
    """A schema of msgspec's as OpenAPI 3.0 has it: nothing may be null, and examples of a default are left out."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    options = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    rest = {key: _plain(value) for key, value in schema.items() if key not in ("anyOf", "default", "title")}
    if not rest.get("required", True):
        del rest["required"]
    if len(options) == 1:
        return {**rest, **_plain(options[0])}
    return {**rest, "anyOf": _plain(options)} if options else rest


def _of_reference(type_: str, base: str) -> Json:
    schema: Json = {**_said(describing.of_type(type_)), "type": "object", "properties": {}}
    for field, kind in reference.fields(type_).items():
        found = _of_kind(kind, base)
        if values := [value for value in reference.enumeration(type_, field) if value]:
            found["enum"] = values
        schema["properties"][field] = {**_said(describing.of_field(type_, field)), **found, **_merged(type_, field)}
    if wanted := reference.required(type_):
        schema["required"] = list(wanted)
    return schema


def _said(text: str) -> Json:
    return {"description": text} if text else {}


def _of_kind(kind: str, base: str) -> Json:
    if kind.startswith("["):
        return {"type": "array", "items": _of_kind(kind[1:-1], base)}
    if kind.startswith("{"):
        return {"type": "object", "additionalProperties": _of_kind(kind[1:-1], base)}
    if kind in ("x", "q"):
        return _reference(INT_OR_STRING if kind == "x" else QUANTITY, base)
    return dict(_SCALARS[kind]) if len(kind) == 1 else _reference(name_of(kind), base)


def _reference(name: str, base: str) -> Json:
    """In version 3 what stands beside `$ref` is not read, so it is one of `allOf`."""
    link = {"$ref": f"{base}{name}"}
    return {"allOf": [link]} if base == V3 else link


def _merged(type_: str, field: str) -> Json:
    """How a strategic merge patch merges the field."""
    strategy = ["merge"] if (type_, field) in SETS or (type_, field) in KEYS else []
    strategy += ["retainKeys"] if (type_, field) in RETAINED else []
    found: Json = {"x-kubernetes-patch-strategy": ",".join(strategy)} if strategy else {}
    if key := KEYS.get((type_, field)):
        found["x-kubernetes-patch-merge-key"] = key
    return found


def _list_meta() -> Json:
    text = {"type": "string"}
    fields = {"continue": text, "remainingItemCount": {"type": "integer"}, "resourceVersion": text, "selfLink": text}
    return {"type": "object", "properties": fields}
