"""Which fields an object has, as paths, and as FieldsV1, in which metadata.managedFields says who set them. Pure.

A path's parts are FieldsV1's: f:NAME for a field, k:{"name":"c"} for an item of a list by its keys, v:"x" for a member
of a set. Lists that are merged neither by keys nor as sets are one value.
Source: apimachinery pkg/apis/meta/v1 (FieldsV1), structured-merge-diff (fieldpath); the keys are the x-kubernetes-list-
map-keys of Kubernetes' OpenAPI.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from k8snetlab.api.merging import ASSUMED
from k8snetlab.apiserver.shapes import Type, inner, is_atomic, is_set, keys_of
from k8snetlab.errors import RequestError

Json = dict[str, Any]
Path = tuple[str, ...]
MISSING = object()
UNOWNED = {
    *(("f:apiVersion",), ("f:kind",), ("f:metadata",)),
    *(
        ("f:metadata", f"f:{name}")
        for name in (
            *("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"),
            *("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generateName"),
        )
    ),
}
"""Fields that nobody owns."""


def fields_of(value: Json, kind: Type) -> frozenset[Path]:
    """All of an object's, but for those that nobody owns."""
    return frozenset(path for path in _walk(value, kind, ()) if path[:2] not in UNOWNED and path[:1] != ("f:status",))


def _walk(value: Any, type_: Type, path: Path) -> Iterator[Path]:
    if not isinstance(value, dict) or (not value and path) or is_atomic(type_):
        yield path
        return
    for field, held in value.items():
        here = (*path, f"f:{field}")
        keys = keys_of(type_, field)
        if isinstance(held, list) and keys:
            for item in held:
                place = (*here, _item(item, keys))
                yield place
                if isinstance(item, dict):
                    yield from _walk(item, inner(type_, field), place)
        elif isinstance(held, list) and is_set(type_, field):
            yield from ((*here, f"v:{_text(item)}") for item in held)
        else:
            yield from _walk(held, inner(type_, field), here)


def _item(item: Any, keys: tuple[str, ...]) -> str:
    held = item if isinstance(item, dict) else {}
    return f"k:{_text({key: held.get(key, ASSUMED.get(key)) for key in sorted(keys)})}"


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def value_at(value: Any, path: Path) -> Any:
    """What stands there; MISSING where nothing does."""
    for part in path:
        if part.startswith("f:"):
            value = value.get(part[2:], MISSING) if isinstance(value, dict) else MISSING
        else:
            place = _place(value, part)
            value = value[place] if place is not None else MISSING
        if value is MISSING:
            return MISSING
    return value


def without(value: Json, paths: Iterable[Path]) -> Json:
    """The object without what stands at the paths; `value` itself stays as it is."""
    copy: Json = msgspec.json.decode(msgspec.json.encode(value))
    for path in sorted(paths, key=len):  # an item before its keys, by which it is found
        parent = value_at(copy, path[:-1])
        if path[-1].startswith("f:"):
            if isinstance(parent, dict):
                parent.pop(path[-1][2:], None)
        elif (place := _place(parent, path[-1])) is not None:
            del parent[place]
    return copy


def _place(items: Any, part: str) -> int | None:
    """Where the item or member of a list stands."""
    if not isinstance(items, list):
        return None
    wanted = msgspec.json.decode(part[2:])
    for number, item in enumerate(items):
        if part.startswith("v:") and item == wanted:
            return number
        if part.startswith("k:") and _has(item, wanted):
            return number
    return None


def _has(item: Any, wanted: Any) -> bool:
    """Whether an item has these keys."""
    if not isinstance(item, dict) or not isinstance(wanted, dict):
        return False
    return all(item.get(key, ASSUMED.get(key)) == held for key, held in wanted.items())


def encoded(paths: Iterable[Path]) -> Json:
    """As FieldsV1."""
    found: Json = {}
    levels: list[tuple[Path, Json]] = []
    for path in sorted(paths):
        level = found
        for part in path:
            level = level.setdefault(part, {})
        levels.append((path, level))
    for path, level in levels:
        if path[-1].startswith("k:") or level:
            level["."] = {}
    return found


def decoded(fields: Any, path: Path = ()) -> Iterator[Path]:
    """Of FieldsV1. Raises RequestError (400) for what is none."""
    if not isinstance(fields, dict) or len(path) > 64:
        raise RequestError("metadata.managedFields: fieldsV1 is no set of fields")
    if not fields and path:
        yield path
    for part, held in fields.items():
        if part == ".":
            yield from (path,) if path else ()
            continue
        if part[:2] not in ("f:", "k:", "v:"):
            raise RequestError(f"metadata.managedFields: {part[:60]!r} is no part of a path")
        if part[0] != "f":
            try:
                msgspec.json.decode(part[2:])
            except msgspec.MsgspecError as error:
                raise RequestError(f"metadata.managedFields: {part[:60]!r} is no part of a path") from error
        yield from decoded(held, (*path, part))


def shown(path: Path) -> str:
    """As conflicts name it: .spec.template.spec.containers[name="c"].image."""
    text = ""
    for part in path:
        if part.startswith("f:"):
            text += f".{part[2:]}"
        elif part.startswith("k:"):
            held = msgspec.json.decode(part[2:])
            text += f"[{','.join(f'{key}={_text(one)}' for key, one in held.items())}]"
        else:
            text += f"[{part[2:]}]"
    return text
