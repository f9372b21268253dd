"""Whether an OpenAPI schema is structural: it says of each field that an object may have of what type it is.

Source: apiextensions-apiserver pkg/apiserver/schema (structural.go, validation.go, complete.go),
pkg/apis/apiextensions/validation; the words are theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from k8snetlab.api.formats import FORMATS, UNCHECKED
from k8snetlab.api.schema import (
    EMBEDDED,
    INT_OR_STRING,
    LIST_KEYS,
    LIST_TYPE,
    PRESERVE,
    compiled,
    defaulted,
    pruned,
    violations,
)
from k8snetlab.api.words import Path, describe, shorten, show

DEEPEST = 100
"""Schemas in schemas."""
MOST = 50_000
"""Schemas in a version's schema."""
RULES = "x-kubernetes-validations"
_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_FORBIDDEN = (
    *("$ref", "definitions", "dependencies", "patternProperties", "additionalItems", "id", "$schema"),
    *("readOnly", "writeOnly", "xml", "deprecated", "discriminator"),
)
_STRINGS, _BOOLEANS = (
    ("type", "format", "title", "description", "pattern", LIST_TYPE, "x-kubernetes-map-type"),
    (*("nullable", "exclusiveMinimum", "exclusiveMaximum", "uniqueItems", PRESERVE, INT_OR_STRING, EMBEDDED),),
)
_COUNTS = ("maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties")
_NUMBERS = ("maximum", "minimum", "multipleOf")
_ANY = ("default", "example", "enum", "externalDocs", "additionalProperties", "items", "not", "properties", "required")
_KNOWN = frozenset(
    (*_FORBIDDEN, *_STRINGS, *_BOOLEANS, *_COUNTS, *_NUMBERS, *_ANY, "allOf", "anyOf", "oneOf", LIST_KEYS, RULES)
)
_JUNCTORS = ("allOf", "anyOf", "oneOf")
_NOT_IN_JUNCTORS = (
    *("description", "type", "default", "additionalProperties", "nullable", "title"),
    *(PRESERVE, INT_OR_STRING, EMBEDDED, LIST_TYPE, LIST_KEYS),
)
_EITHER = ([{"type": "integer"}, {"type": "string"}], [{"type": "string"}, {"type": "integer"}])
Wrong = tuple[Path, str]


def problems(schema: Any, path: Path) -> list[Wrong]:
    """What is wrong with the schema of a version, at `path` of its definition."""
    if sized := _too_large(schema):
        return [(path, sized)]
    found = list(_shaped(schema, path))
    if found:
        return found
    found = list(_structural(schema, path, root=True))
    return found or list(_defaults(schema, path))


def unchecked(schema: Mapping[str, Any], path: Path) -> Iterator[str]:
    """What of a schema that has no problems nobody here goes by, in the words of a warning."""
    for where, one in _all(schema, path):
        if one.get(RULES):
            yield f"{show((*where, RULES))}: rules in CEL are not evaluated here: objects that break them are taken"
        form = one.get("format")
        if form and form not in FORMATS and form not in UNCHECKED:
            yield f'{show((*where, "format"))}: format "{shorten(form)}" is not checked here'


def has_rules(schema: Mapping[str, Any]) -> bool:
    """Whether a schema that has no problems holds rules in CEL."""
    return any(one.get(RULES) for _, one in _all(schema, ()))


def _too_large(schema: Any) -> str:
    count, waiting = 0, [(schema, 0)]
    while waiting:
        one, depth = waiting.pop()
        inner = list(one.values()) if isinstance(one, dict) else one if isinstance(one, list) else []
        count += 1
        if depth > 2 * DEEPEST:
            return f"Invalid value: the schema is nested too deeply: at most {DEEPEST} schemas may be in each other"
        if count > 4 * MOST:
            return f"Invalid value: the schema is too large: it may have at most {MOST} schemas"
        waiting += [(part, depth + 1) for part in inner]
    return ""


def _all(schema: Any, path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """The schema and those in it."""
    yield path, schema
    for where, one in _inner(schema, path):
        yield from _all(one, where)


def _inner(schema: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Any]]:
    for key, one in (schema.get("properties") or {}).items():
        yield (*path, "properties", key), one
    for field in ("items", "not"):
        if field in schema:
            yield (*path, field), schema[field]
    if isinstance(schema.get("additionalProperties"), dict):
        yield (*path, "additionalProperties"), schema["additionalProperties"]
    for field in _JUNCTORS:
        for number, one in enumerate(schema.get(field) or ()):
            yield (*path, field, number), one


# --- whether it is a schema at all ----------------------------------------------------------------------------------


def _shaped(schema: Any, path: Path) -> Iterator[Wrong]:
    if not isinstance(schema, dict):
        yield path, f"expected a schema, got {describe(schema)}"
        return
    for field, value in schema.items():
        here = (*path, field)
        if field not in _KNOWN:
            yield here, "unknown field of a schema"
            continue
        for names, right, wanted in _SHAPES:
            if field in names and not right(value):
                yield here, f"expected {wanted}, got {describe(value)}"
    if any(not isinstance(schema.get(field, kind()), kind) for field, kind in _HOLDERS.items()):
        return
    for where, one in _inner(schema, path):
        yield from _shaped(one, where)


_HOLDERS: Mapping[str, type] = {"properties": dict, **dict.fromkeys(_JUNCTORS, list)}
_SHAPES: tuple[tuple[tuple[str, ...], Callable[[Any], bool], str], ...] = (
    (_STRINGS, lambda value: isinstance(value, str), "a string"),
    (_BOOLEANS, lambda value: isinstance(value, bool), "true or false"),
    (_COUNTS, lambda value: type(value) is int and 0 <= value < 2**63, "a whole number from 0 to 2^63-1"),
    (_NUMBERS, lambda value: type(value) in (int, float), "a number"),
    (("properties",), lambda value: isinstance(value, dict), "a mapping"),
    (
        ("required", LIST_KEYS),
        lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
        "a list of strings",
    ),
    ((*_JUNCTORS, "enum", RULES), lambda value: isinstance(value, list), "a list"),
    (("additionalProperties",), lambda value: isinstance(value, dict | bool), "a schema, true or false"),
)


# --- whether it is structural ---------------------------------------------------------------------------------------


def _structural(schema: Mapping[str, Any], path: Path, root: bool = False) -> Iterator[Wrong]:
    yield from _forbidden(schema, path)
    yield from _typed(schema, path, root)
    yield from _listed(schema, path)
    if (pattern := schema.get("pattern")) is not None:
        yield from _pattern(pattern, (*path, "pattern"))
    for key, one in (schema.get("properties") or {}).items():
        if root and key == "metadata":
            yield from _metadata(one, (*path, "properties", key))
        yield from _structural(one, (*path, "properties", key))
    for field in ("items", "additionalProperties"):
        if isinstance(schema.get(field), dict):
            yield from _structural(schema[field], (*path, field))
    for field in _JUNCTORS:
        for number, one in enumerate(schema.get(field) or ()):
            yield from _junctor(one, schema, (*path, field, number))
    if "not" in schema:
        yield from _junctor(schema["not"], schema, (*path, "not"))


def _forbidden(schema: Mapping[str, Any], path: Path) -> Iterator[Wrong]:
    for field in _FORBIDDEN:
        if schema.get(field):
            yield (*path, field), "Forbidden: it is not supported"
    if schema.get("uniqueItems"):
        message = "Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield (*path, "uniqueItems"), message
    others = schema.get("additionalProperties")
    if others is False:
        yield (*path, "additionalProperties"), "Forbidden: additionalProperties cannot be set to false"
    if others and schema.get("properties"):
        message = "Forbidden: additionalProperties and properties are mutual exclusive"
        yield (*path, "additionalProperties"), message


def _typed(schema: Mapping[str, Any], path: Path, root: bool) -> Iterator[Wrong]:
    type_, here = schema.get("type", ""), (*path, "type")
    if type_ and type_ not in _TYPES:
        listed = ", ".join(f'"{one}"' for one in _TYPES)
        yield here, f"Unsupported value: {shorten(type_)!r}: supported values: {listed}"
    elif root and type_ != "object":
        yield here, f'Invalid value: "{type_}": must be object at the root'
    elif not type_ and not schema.get(PRESERVE) and not schema.get(INT_OR_STRING):
        kind = "array items" if path[-1:] == ("items",) else "object fields"
        yield here, f"Required value: must not be empty for specified {kind}"
    if schema.get(INT_OR_STRING) and type_:
        yield here, f"Invalid value: {type_!r}: must be empty if {INT_OR_STRING} is true"
    for field, wanted in (("properties", "object"), ("additionalProperties", "object"), ("items", "array")):
        if schema.get(field) and type_ and type_ != wanted:
            yield here, f'Invalid value: "{type_}": must be {wanted} if {field} is specified'
    if type_ == "array" and "items" not in schema:
        yield (*path, "items"), "Required value: must be specified"
    if schema.get(EMBEDDED) and type_ != "object":
        yield here, f"Invalid value: must be object if {EMBEDDED} is true"


def _listed(schema: Mapping[str, Any], path: Path) -> Iterator[Wrong]:
    kind, keys = schema.get(LIST_TYPE), schema.get(LIST_KEYS) or []
    if kind not in (None, "atomic", "set", "map"):
        listed = '"atomic", "map", "set"'
        yield (*path, LIST_TYPE), f"Unsupported value: {shorten(kind)!r}: supported values: {listed}"
    if kind and schema.get("type") != "array":
        yield (*path, "type"), f"Invalid value: must be array if {LIST_TYPE} is specified"
    if bool(keys) != (kind == "map"):
        yield (*path, LIST_KEYS), f"Required value: goes with {LIST_TYPE} map, and must not be empty then"
    items = schema.get("items") or {}
    for number, key in enumerate(keys):
        inner = (items.get("properties") or {}).get(key)
        if inner is None:
            yield (*path, LIST_KEYS, number), f"Invalid value: {key!r}: must be a property of the items"
        elif key not in (items.get("required") or ()) and "default" not in inner:
            message = "Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be"
            yield (*path, "items", "properties", key, "default"), f"{message} a required property"


def _pattern(pattern: str, path: Path) -> Iterator[Wrong]:
    try:
        compiled(pattern)
    except ValueError as error:
        said = shorten(str(error))
        yield path, f"Invalid value: {shorten(pattern)!r}: must be a valid regular expression, but isn't: {said}"


def _metadata(schema: Mapping[str, Any], path: Path) -> Iterator[Wrong]:
    allowed = {"name", "generateName"}
    if schema.get("type") != "object" or set(schema.get("properties") or ()) - allowed:
        yield (
            path,
            "Forbidden: must not specify anything other than name and generateName, but metadata is implicitly "
            "specified",
        )


def _junctor(schema: Mapping[str, Any], outer: Mapping[str, Any], path: Path) -> Iterator[Wrong]:
    """A schema below allOf, anyOf, oneOf or not, which says no more of what the fields are."""
    if outer.get(INT_OR_STRING) and schema in _EITHER[0]:
        return
    for field in _NOT_IN_JUNCTORS:
        if schema.get(field):
            yield (*path, field), "Forbidden: must be empty to be structural"
    yield from _junctors_fields(schema, outer, path)
    if "items" in schema:
        yield from _junctor(schema["items"], outer.get("items") or {}, (*path, "items"))
    for field in _JUNCTORS:
        for number, one in enumerate(schema.get(field) or ()):
            yield from _junctor(one, outer, (*path, field, number))
    if "not" in schema:
        yield from _junctor(schema["not"], outer, (*path, "not"))


def _junctors_fields(schema: Mapping[str, Any], outer: Mapping[str, Any], path: Path) -> Iterator[Wrong]:
    if (pattern := schema.get("pattern")) is not None:
        yield from _pattern(pattern, (*path, "pattern"))
    for key, one in (schema.get("properties") or {}).items():
        others = outer.get("additionalProperties")
        inner = (outer.get("properties") or {}).get(key, others)
        if isinstance(inner, dict):
            yield from _junctor(one, inner, (*path, "properties", key))
        else:
            yield (*path, "properties", key), "Forbidden: must also be specified outside of allOf, anyOf, oneOf and not"


def _defaults(schema: Mapping[str, Any], path: Path) -> Iterator[Wrong]:
    """Defaults that their own schema would refuse."""
    for where, one in _all(schema, path):
        if "default" not in one:
            continue
        value, lost = pruned(one["default"], one, root=False)
        if lost:
            yield (*where, "default"), f"Invalid value: it has fields that the schema does not have: {show(lost[0])}"
        elif wrong := violations(defaulted(value, one), one):
            at, message = wrong[0]
            yield (*where, "default", *at), message
