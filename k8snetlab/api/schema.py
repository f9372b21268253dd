"""A value set against an OpenAPI schema of a CustomResourceDefinition: pruned, given its defaults, checked.

Patterns are Go's, which are RE2's: they take time linear in the text, whatever a definition holds.
Source: apiextensions-apiserver pkg/apiserver/schema (pruning, defaulting, listtype), kube-openapi
pkg/validation/validate (the words of its refusals).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from k8snetlab.api.formats import FORMATS
from k8snetlab.api.words import Path, shorten, show

Schema = Mapping[str, Any]
Wrong = tuple[Path, str]
PRESERVE, INT_OR_STRING = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"
EMBEDDED, LIST_TYPE, LIST_KEYS = (
    "x-kubernetes-embedded-resource",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
)
HEAD = ("apiVersion", "kind", "metadata")
STEPS = 500_000
"""Pairs of a value and a schema that are looked at before an object counts as too costly to check."""
TOLD = 50
"""Problems of an object that are told."""
PROGRAM = 1 << 20
"""Bytes that a pattern may take, compiled."""


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> Any:
    """Raises ValueError for what is no pattern, or too large a one."""
    import re2  # 2 ms and 5 MB that only definitions with patterns want

    options = re2.Options()
    options.max_mem, options.log_errors = PROGRAM, False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        text = error.args[0] if error.args else ""
        raise ValueError(text.decode(errors="replace") if isinstance(text, bytes) else str(text)) from None


# --- pruning and defaults -------------------------------------------------------------------------------------------


def pruned(value: Any, schema: Schema, path: Path = (), root: bool = True) -> tuple[Any, list[Path]]:
    """The value without fields that the schema does not have, and where those stood."""
    lost: list[Path] = []
    return _pruned(value, schema, path, root, lost), lost


def _pruned(value: Any, schema: Schema, path: Path, root: bool, lost: list[Path]) -> Any:
    if isinstance(value, list):
        items = schema.get("items") or {}
        keep = not items
        return value if keep else [_pruned(one, items, (*path, n), False, lost) for n, one in enumerate(value)]
    if not isinstance(value, dict):
        return value
    properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
    head = HEAD if root or schema.get(EMBEDDED) else ()
    found: dict[str, Any] = {}
    for key, held in value.items():
        if key in head:
            found[key] = held
        elif key in properties:
            found[key] = _pruned(held, properties[key], (*path, key), False, lost)
        elif isinstance(others, dict):
            found[key] = _pruned(held, others, (*path, key), False, lost)
        elif others or schema.get(PRESERVE):
            found[key] = held
        else:
            lost.append((*path, key))
    return found


def defaulted(value: Any, schema: Schema) -> Any:
    """The value with the schema's defaults, and without a null where none may be."""
    if isinstance(value, list):
        items = schema.get("items")
        return [defaulted(one, items) for one in value] if items else value
    if not isinstance(value, dict):
        return value
    properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
    found = {}
    for key, held in value.items():
        inner = properties.get(key, others if isinstance(others, dict) else None)
        if held is None and inner is not None and not inner.get("nullable"):
            continue
        found[key] = held
    for key, inner in properties.items():
        if key not in found and "default" in inner:
            found[key] = copy.deepcopy(inner["default"])
    for key, held in found.items():
        inner = properties.get(key, others if isinstance(others, dict) else None)
        if inner is not None:
            found[key] = defaulted(held, inner)
    return found


# --- checks ---------------------------------------------------------------------------------------------------------


def violations(value: Any, schema: Schema, path: Path = ()) -> list[Wrong]:
    """What of the value is wrong, and where."""
    looking = _Looking()
    found: list[Wrong] = []
    try:
        for wrong in looking.at(value, schema, path):
            found.append(wrong)
            if len(found) >= TOLD:
                break
    except _TooCostlyError:
        found.append((path, f"Invalid value: it takes more than {STEPS} steps to check: make it or its schema smaller"))
    return found


class _TooCostlyError(Exception):
    pass


class _Looking:
    """One look at an object."""

    def __init__(self) -> None:
        self.left = STEPS

    def at(self, value: Any, schema: Schema, path: Path) -> Iterator[Wrong]:
        self.left -= 1
        if self.left < 0:
            raise _TooCostlyError
        if value is None and (schema.get("nullable") or (not schema.get("type") and not schema.get(INT_OR_STRING))):
            return
        if wrong := _wrong_type(value, schema, path):
            yield path, wrong
            return
        yield from _enumerated(value, schema, path)
        match value:
            case bool():
                pass
            case str():
                yield from _text(value, schema, path)
            case int() | float():
                yield from _number(value, schema, path)
            case list():
                yield from self._list(value, schema, path)
            case dict():
                yield from self._mapping(value, schema, path)
        yield from self._combined(value, schema, path)

    def _list(self, value: list[Any], schema: Schema, path: Path) -> Iterator[Wrong]:
        most, least = schema.get("maxItems"), schema.get("minItems")
        if most is not None and len(value) > most:
            yield path, f"Too many: {len(value)}: must have at most {most} items"
        if least is not None and len(value) < least:
            yield path, f"Invalid value: {len(value)}: {show(path)} in body should have at least {least} items"
        if items := schema.get("items"):
            for number, one in enumerate(value):
                yield from self.at(one, items, (*path, number))
        yield from _doubled(value, schema, path)

    def _mapping(self, value: dict[str, Any], schema: Schema, path: Path) -> Iterator[Wrong]:
        most, least = schema.get("maxProperties"), schema.get("minProperties")
        if most is not None and len(value) > most:
            yield path, f"Too many: {len(value)}: must have at most {most} properties"
        if least is not None and len(value) < least:
            yield path, f"Invalid value: {len(value)}: {show(path)} in body should have at least {least} properties"
        for key in schema.get("required") or ():
            if key not in value:
                yield (*path, key), "Required value"
        properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
        for key, held in value.items():
            inner = properties.get(key, others if isinstance(others, dict) else None)
            if inner is not None:
                yield from self.at(held, inner, (*path, key))

    def _combined(self, value: Any, schema: Schema, path: Path) -> Iterator[Wrong]:
        for one in schema.get("allOf") or ():
            yield from self.at(value, one, path)
        where = show(path) or "<nil>"
        if (some := schema.get("anyOf")) and not any(self._fits(value, one, path) for one in some):
            yield path, f"Invalid value: {shown(value)}: {where} in body must validate at least one schema (anyOf)"
        if (some := schema.get("oneOf")) and sum(self._fits(value, one, path) for one in some) != 1:
            yield path, f"Invalid value: {shown(value)}: {where} in body must validate one and only one schema (oneOf)"
        if "not" in schema and self._fits(value, schema["not"], path):
            yield path, f"Invalid value: {shown(value)}: {where} in body must not validate the schema (not)"

    def _fits(self, value: Any, schema: Schema, path: Path) -> bool:
        return next(self.at(value, schema, path), None) is None


def shown(value: Any) -> str:
    """As refusals show a value."""
    if isinstance(value, dict | list):
        return f'"{"object" if isinstance(value, dict) else "array"}"'
    return shorten(json.dumps(value, ensure_ascii=False))


_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


def _name_of(value: Any) -> str:
    for name, types in _TYPES.items():
        if isinstance(value, types) and (name == "boolean" or not isinstance(value, bool)):
            return name
    return "null"


def _wrong_type(value: Any, schema: Schema, path: Path) -> str:
    have, wanted = _name_of(value), schema.get("type")
    where = show(path) or "<nil>"
    if schema.get(INT_OR_STRING):
        if have in ("integer", "string"):
            return ""
        return f'Invalid value: "{have}": {where} in body must be of type integer,string: "{have}"'
    if not wanted or have == wanted or (wanted == "number" and have == "integer"):
        return ""
    if wanted == "integer" and isinstance(value, float) and value.is_integer():
        return ""
    return f'Invalid value: "{have}": {where} in body must be of type {wanted}: "{have}"'


def _enumerated(value: Any, schema: Schema, path: Path) -> Iterator[Wrong]:
    values = schema.get("enum")
    if values and not any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in values):
        listed = ", ".join(json.dumps(one, ensure_ascii=False) for one in values[:20])
        yield path, f"Unsupported value: {shown(value)}: supported values: {listed}"


def _text(value: str, schema: Schema, path: Path) -> Iterator[Wrong]:
    most, least = schema.get("maxLength"), schema.get("minLength")
    if most is not None and len(value) > most:
        yield path, f"Too long: may not be more than {most} bytes"
    if least is not None and len(value) < least:
        yield path, f"Invalid value: {shown(value)}: {show(path)} in body should be at least {least} chars long"
    pattern, form = schema.get("pattern"), schema.get("format")
    if pattern and not _matches(pattern, value):
        yield path, f"Invalid value: {shown(value)}: {show(path)} in body should match '{shorten(pattern)}'"
    if isinstance(form, str) and form in FORMATS and not FORMATS[form](value):
        yield path, f"Invalid value: {shown(value)}: {show(path)} in body must be of type {form}: {shown(value)}"


def _matches(pattern: str, value: str) -> bool:
    try:
        return compiled(pattern).search(value) is not None
    except (ValueError, UnicodeError):
        return False


def _number(value: float, schema: Schema, path: Path) -> Iterator[Wrong]:
    where, low, high = show(path), schema.get("minimum"), schema.get("maximum")
    begin = f"Invalid value: {shown(value)}: {where} in body should be"
    if low is not None and (value < low or (schema.get("exclusiveMinimum") and value == low)):
        yield path, f"{begin} greater than {'' if schema.get('exclusiveMinimum') else 'or equal to '}{low}"
    if high is not None and (value > high or (schema.get("exclusiveMaximum") and value == high)):
        yield path, f"{begin} less than {'' if schema.get('exclusiveMaximum') else 'or equal to '}{high}"
    factor = schema.get("multipleOf")
    if factor and abs(value / factor - round(value / factor)) > 1e-9:
        yield path, f"{begin} a multiple of {factor}"
    bits = {"int32": 31, "int64": 63}.get(schema.get("format", ""), 0)
    if bits and not -(2**bits) <= value < 2**bits:
        yield path, f"{begin} of type {schema['format']}"


def _doubled(value: list[Any], schema: Schema, path: Path) -> Iterator[Wrong]:
    """In a list that is a set, or is known by keys, each may be once."""
    kind, keys = schema.get(LIST_TYPE), schema.get(LIST_KEYS) or ()
    if kind not in ("set", "map"):
        return
    defaults = {key: ((schema.get("items") or {}).get("properties") or {}).get(key, {}).get("default") for key in keys}
    seen: set[str] = set()
    for number, one in enumerate(value):
        known = one
        if kind == "map":
            known = {key: one.get(key, defaults[key]) for key in keys} if isinstance(one, dict) else one
        text = json.dumps(known, sort_keys=True)
        if text in seen:
            yield (*path, number), f"Duplicate value: {shorten(text)}"
        seen.add(text)
