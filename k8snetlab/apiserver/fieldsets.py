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
from k8snetlab.api.words import describe
from k8snetlab.apiserver.shapes import Type, inner, is_atomic, is_set, keys_of
from k8snetlab.errors import RequestError

Json = dict[str, Any]
Path = tuple[str, ...]
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
    return frozenset(path for path, _, owned in _walk(value, kind, ()) if owned and _has_owner(path))


def values_of(value: Json, kind: Type) -> dict[Path, Any]:
    """What stands at each path, of every field and item there is; of items with the same keys the first."""
    found: dict[Path, Any] = {}
    for path, held, _ in _walk(value, kind, ()):
        found.setdefault(path, held)
    return found


def flaws(value: Json, kind: Type) -> list[str]:
    """Items of lists that are told apart by keys or as members of a set, and cannot be: where, and why."""
    found, seen = list[str](), set[Path]()
    for path, held, _ in _walk(value, kind, ()):
        part = path[-1] if path else ""
        if part[:2] == "k:" and (lacking := _lacking(held, part)):
            found.append(f"{shown(path[:-1])}: {lacking}")
        elif part[:2] in ("k:", "v:"):
            if path in seen:
                found.append(f"{shown(path[:-1])}: duplicate entries for key {shown(path[-1:])}")
            seen.add(path)
    return list(dict.fromkeys(found))


def _lacking(item: Any, part: str) -> str:
    if not isinstance(item, dict):
        return f"expected map, got {describe(item)}"
    missing = next((key for key, held in msgspec.json.decode(part[2:]).items() if held is None), "")
    return f'associative list with keys has an element that omits key field "{missing}"' if missing else ""


def _has_owner(path: Path) -> bool:
    return path[:2] not in UNOWNED and path[:1] != ("f:status",)


def _walk(value: Any, type_: Type, path: Path) -> Iterator[tuple[Path, Any, bool]]:
    """Each path, what stands there, and whether it is one that a manager owns: those that lead to such ones are not."""
    if not isinstance(value, dict) or (not value and path) or is_atomic(type_):
        yield path, value, True
        return
    if path and path[-1][:2] != "k:":
        yield path, value, False
    for field, held in value.items():
        here = (*path, f"f:{field}")
        keys = keys_of(type_, field)
        if isinstance(held, list) and keys:
            yield here, held, False
            for item in held:
                place = (*here, _item(item, keys))
                yield place, item, True
                if isinstance(item, dict) and item and not is_atomic(inner(type_, field)):
                    yield from _walk(item, inner(type_, field), place)
        elif isinstance(held, list) and is_set(type_, field):
            yield here, held, False
            yield from (((*here, f"v:{_text(item)}"), item, True) for item in held)
        else:
            yield from _walk(held, inner(type_, field), here)


def _item(item: Any, keys: tuple[str, ...]) -> str:
    held = item if isinstance(item, dict) else {}
    return f"k:{_text({key: held.get(key, ASSUMED.get(key)) for key in sorted(keys)})}"


def _text(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def without(value: Json, paths: Iterable[Path]) -> Json:
    """The object without what stands at the paths; `value` itself stays as it is."""
    tree: Json = {}
    for path in sorted(paths, key=len):
        level: Json | None = tree
        for part in path[:-1]:
            level = level.setdefault(part, {}) if level is not None else None
        if level is not None:
            level[path[-1]] = None
    pruned: Json = _pruned(value, tree)
    return pruned


def _pruned(value: Any, tree: Json) -> Any:
    """`tree` has what goes: None for what stands there as a whole, else a tree for what is below."""
    if isinstance(value, dict):
        below = {field: tree.get(f"f:{field}", {}) for field in value}
        return {field: _pruned(held, below[field]) for field, held in value.items() if below[field] is not None}
    if not isinstance(value, list) or not tree:
        return value
    members = {_text(msgspec.json.decode(part[2:])) for part in tree if part[:2] == "v:"}
    by_keys: dict[tuple[str, ...], Json] = {}
    for part, held in tree.items():
        if part[:2] == "k:" and isinstance(keys := msgspec.json.decode(part[2:]), dict):
            by_keys.setdefault(tuple(sorted(keys)), {})[f"k:{_text(keys)}"] = held
    found = []
    for item in value:
        below = next((held[part] for keys, held in by_keys.items() if (part := _item(item, keys)) in held), {})
        if below is not None and not (members and _text(item) in members):
            found.append(_pruned(item, below))
    return found


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
