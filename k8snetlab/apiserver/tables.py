"""Objects as meta/v1 Tables and PartialObjectMetadata, which `kubectl get` and clients of metadata ask for.

Pure. Source: apimachinery pkg/apis/meta/v1 (Table, TableRow, PartialObjectMetadata); apiserver
pkg/endpoints/handlers/response.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from k8snetlab.api.core import Pod
from k8snetlab.api.custom_columns import columns_for
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import Resource, to_dict
from k8snetlab.errors import RequestError

Json = dict[str, Any]
GROUP = "meta.k8s.io"
INCLUDED = ("None", "Metadata", "Object")


def definitions(resource: Resource) -> list[Json]:
    """What each column is."""
    return [
        {
            "name": column.title,
            "type": column.type,
            "format": "name" if column.title == "Name" else column.format,
            "description": column.description,
            "priority": int(column.wide),
        }
        for column in columns_for(resource)
    ]


def table(
    resource: Resource, objects: Sequence[Object], metadata: Json, now: float, *, version: str, include: str
) -> Json:
    """`metadata` is the list's; `version` is meta.k8s.io's, `include` what a row has of its object: one of INCLUDED."""
    return {
        "kind": "Table",
        "apiVersion": f"{GROUP}/{version}",
        "metadata": metadata,
        "columnDefinitions": definitions(resource),
        "rows": [row(resource, obj, now, version, include) for obj in objects],
    }


def row(resource: Resource, obj: Object, now: float, version: str, include: str) -> Json:
    found: Json = {"cells": [column.of(obj, now) for column in columns_for(resource)]}
    if isinstance(obj, Pod) and obj.ended:
        phase = obj.status.phase
        message = {"Succeeded": "The pod has completed successfully.", "Failed": "The pod failed."}[phase]
        found["conditions"] = [{"type": "Completed", "status": "True", "reason": phase, "message": message}]
    if include == "Object":
        found["object"] = {**to_dict(obj), "apiVersion": resource.version}
    elif include == "Metadata":
        found["object"] = partial(obj, version)
    return found


def partial(obj: Object, version: str) -> Json:
    """The object's metadata alone."""
    kind = {"kind": "PartialObjectMetadata", "apiVersion": f"{GROUP}/{version}"}
    return {**kind, "metadata": msgspec.to_builtins(obj.metadata)}


def check_include(said: str) -> str:
    """The query's `includeObject`, by default Metadata. Raises RequestError."""
    if said not in ("", *INCLUDED):
        raise RequestError(f"includeObject: expected one of {', '.join(INCLUDED)}, got {said[:60]!r}")
    return said or "Metadata"
