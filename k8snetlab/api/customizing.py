"""A request's body as an object of a kind that users bring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from k8snetlab.api.custom import Custom, object_of
from k8snetlab.api.fields import check
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.schema import PRESERVE, Schema, defaulted, pruned
from k8snetlab.api.scheme import Resource, to_dict, without_nulls
from k8snetlab.api.words import show
from k8snetlab.errors import ManifestError

DEEPEST = 200
"""Mappings and lists in each other."""


def schema_of(resource: Resource) -> Schema:
    """Of a version that has none, one that takes everything (no longer allowed since v1, but harmless)."""
    found = resource.defined.schema.openAPIV3Schema if resource.defined else {}
    return found or {"type": "object", PRESERVE: True}


def decoded(value: Mapping[str, Any], resource: Resource) -> tuple[Custom, list[str]]:
    """The object, without fields that its schema does not have (the paths of those are told) and with its defaults.
    `value` has apiVersion and kind. Raises ManifestError."""
    if _deep(value):
        raise ManifestError([f"{resource.kind}: it is nested too deeply: at most {DEEPEST} levels"])
    metadata = without_nulls(value.get("metadata") or {})
    findings = check(metadata, ObjectMeta)
    if wrong := [(("metadata", *path), message) for path, message in findings.wrong]:
        raise ManifestError([f"{resource.kind}: {show(path)}: {message}" for path, message in wrong])
    schema = schema_of(resource)
    kept, lost = pruned({**value, "metadata": metadata}, schema)
    lost = [("metadata", *path) for path, _ in findings.unknown] + lost
    whole = defaulted(kept, schema)
    try:
        obj = object_of(cast(type[Custom], resource.type), whole)
    except msgspec.ValidationError as error:
        raise ManifestError([f"{resource.kind}: {error}"]) from error
    return obj, [show(path) for path in lost]


def _deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            part
            for one in level
            for part in (one.values() if isinstance(one, dict) else one)
            if isinstance(part, dict | list)
        ]
        if not level:
            return False
    return True


def as_version(obj: Custom, resource: Resource) -> dict[str, Any]:
    """The object as JSON-like builtins, as it is in the version that is asked for: with its defaults there."""
    value = to_dict(obj)
    if resource.defined is None:
        return value
    value["apiVersion"] = resource.version
    schema = schema_of(resource)
    if resource.version != obj.version:
        value = pruned(value, schema)[0]
    whole: dict[str, Any] = defaulted(value, schema)
    return whole
