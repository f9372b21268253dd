"""Errors in the API server's words: what the object is, what of it is wrong.

Source: apimachinery pkg/api/errors (NewNotFound, NewAlreadyExists, NewConflict, NewInvalid).
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

from k8snetlab.api.words import shorten
from k8snetlab.apiserver.discovery import split
from k8snetlab.apiserver.paths import Target
from k8snetlab.errors import AlreadyExistsError, ConflictError, K8sNetLabError, NotFoundError

E = TypeVar("E", bound=K8sNetLabError)
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
_FIELD = re.compile(r"([A-Za-z][\w.\[\]\"/-]*): (.+)", re.DOTALL)


def qualified(target: Target) -> str:
    """As messages name the kind: pods, deployments.apps."""
    group = split(target.resource.version)[0]
    return f"{target.resource.plural}.{group}" if group else target.resource.plural


def missing(target: Target) -> NotFoundError:
    return _about(NotFoundError(f'{qualified(target)} "{shorten(target.name)}" not found'), target, target.name)


def worded(error: K8sNetLabError, target: Target, body: Any = None) -> K8sNetLabError:
    """The error as an API server says it of what the path names; itself where there is nothing to add."""
    if any(error.about):
        return error
    name = target.name or _name_in(body)
    of = f'{qualified(target)} "{shorten(name)}"'
    if isinstance(error, AlreadyExistsError):
        return _about(AlreadyExistsError(f"{of} already exists", error.hint), target, name)
    if isinstance(error, NotFoundError) and target.name and target.resource.kind.lower() in error.message:
        return missing(target)
    if isinstance(error, ConflictError) or MODIFIED in error.message:
        return _about(ConflictError(f"Operation cannot be fulfilled on {of}: {MODIFIED}", error.hint), target, name)
    if error.reason == "Invalid" and name:
        return _invalid(error, target, name)
    return error


def _invalid(error: K8sNetLabError, target: Target, name: str) -> K8sNetLabError:
    kind = target.resource.kind
    worded = rf'{kind} "[^"]*" is invalid: '
    lines = [re.sub(worded, "", line).removeprefix(f"{kind}: ") for line in error.message.splitlines() if line]
    error.causes = tuple(_cause(line) for line in lines)
    error.about = (split(target.resource.version)[0], kind, name)
    listed = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
    error.message = f'{kind} "{shorten(name)}" is invalid: {listed}'
    return error


def _cause(line: str) -> tuple[str, str, str]:
    match = _FIELD.match(line)
    field, message = (match[1], match[2]) if match else ("", line)
    for words, reason in (
        ("Required value", "FieldValueRequired"),
        ("Duplicate value", "FieldValueDuplicate"),
        ("Unsupported value", "FieldValueNotSupported"),
        ("Forbidden", "FieldValueForbidden"),
    ):
        if message.startswith(words):
            return (reason, message, field)
    return ("FieldValueInvalid", message, field)


def _about(error: E, target: Target, name: str) -> E:
    error.about = (split(target.resource.version)[0], target.resource.plural, name)
    return error


def _name_in(body: Any) -> str:
    metadata = body.get("metadata") if isinstance(body, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""
