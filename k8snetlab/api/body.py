"""The body of a request to an object: one object in the form of JSON, without a file to point at."""

from __future__ import annotations

from typing import Any

import msgspec

from k8snetlab.api.defaults import with_defaults
from k8snetlab.api.fields import check, usable
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import BY_KIND, resource_of_kind, without_nulls
from k8snetlab.api.unread import unread
from k8snetlab.api.words import did_you_mean, shorten, show
from k8snetlab.errors import InputError, ManifestError, RefusedError


def decode(body: Any) -> Object:
    """The object of `body` (a mapping with apiVersion and kind) with its defaults; raises ManifestError
    where it cannot be read as its kind, RefusedError where it can and is refused."""
    return read(body)[0]


def read(body: Any) -> tuple[Object, list[str]]:
    """`decode`, and the paths of the body's fields that the kind does not have, as `spec.ports[0].prot`."""
    if not isinstance(body, dict):
        raise InputError("the body holds no object", "send one with apiVersion, kind and metadata")
    kind, version = body.get("kind"), body.get("apiVersion")
    resource = resource_of_kind(str(version), kind) if isinstance(kind, str) else None
    if resource is None:
        raise InputError(f"no kind {shorten(str(kind))} in this lab{did_you_mean(str(kind), BY_KIND)}")
    if version != resource.type.API_VERSION:
        raise InputError(f"a {kind} is of {resource.type.API_VERSION}, not {shorten(str(version))}")
    value = without_nulls({key: field for key, field in body.items() if key not in ("apiVersion", "kind")})
    findings = check(value, resource.type)
    refused = [*findings.refused.items(), *unread(value, resource.type)]
    if any(path not in findings.refused for path, _ in findings.wrong):
        raise ManifestError([f"{kind}: {show(path)}: {message}" for path, message in findings.wrong])
    if refused:
        raise RefusedError([f"{show(path)}: {message}" for path, message in refused])
    obj: Object = msgspec.convert(usable(value, findings), resource.type)
    return with_defaults(obj), [show(path) for path, _ in findings.unknown]
