"""Of what type a field is, and how its list is merged: of the kinds built in by the reference, of others by a schema.

Pure. Source: KEP-555 (x-kubernetes-list-type, x-kubernetes-map-type).
"""

from __future__ import annotations

from typing import Any

import msgspec

from k8snetlab.api import reference
from k8snetlab.api.customizing import schema_of
from k8snetlab.api.merging import KEYS, SETS
from k8snetlab.api.schema import LIST_KEYS, LIST_TYPE, Schema
from k8snetlab.api.scheme import Resource

_SEVERAL = {
    ("Container", "ports"): ("containerPort", "protocol"),
    ("ServiceSpec", "ports"): ("port", "protocol"),
    ("PodSpec", "topologySpreadConstraints"): ("topologyKey", "whenUnsatisfiable"),
}
"""Lists whose items are known by more than one key."""


class Shaped(msgspec.Struct, frozen=True, eq=False):
    """A value whose type a schema tells; `root`: an object as a whole."""

    schema: Schema
    root: bool = False

    def field(self, name: str) -> Schema:
        found = (self.schema.get("properties") or {}).get(name, self.schema.get("additionalProperties"))
        return found if isinstance(found, dict) else {}


Type = str | Shaped
"""The reference's name of a type ("" for none), or what a schema says."""


def type_of(resource: Resource) -> Type:
    return resource.shape if resource.defined is None else Shaped(schema_of(resource), True)


def keys_of(type_: Type, field: str) -> tuple[str, ...]:
    """By which keys the field's list is merged; none where it is not."""
    if isinstance(type_, Shaped):
        found = type_.field(field)
        return tuple(found.get(LIST_KEYS) or ()) if found.get(LIST_TYPE) == "map" else ()
    single = KEYS.get((type_, field))
    return _SEVERAL.get((type_, field), (single,) if single else ())


def is_set(type_: Type, field: str) -> bool:
    if isinstance(type_, Shaped):
        return type_.field(field).get(LIST_TYPE) == "set"
    return (type_, field) in SETS


def is_atomic(type_: Type) -> bool:
    """Whether a mapping is one value."""
    return isinstance(type_, Shaped) and type_.schema.get("x-kubernetes-map-type") == "atomic"


def inner(type_: Type, field: str) -> Type:
    """The type of a field's values, without lists around it; "" where nothing tells."""
    if isinstance(type_, Shaped):
        if type_.root and field == "metadata":
            return "ObjectMeta"
        found: Any = type_.field(field)
        while found.get("type") == "array" and isinstance(found.get("items"), dict):
            found = found["items"]
        return Shaped(found)
    kind = reference.fields(type_).get(field, "") if type_ else ""
    while kind[:1] == "[":
        kind = kind[1:-1]
    return kind if len(kind) > 1 and kind[0] != "{" else ""
