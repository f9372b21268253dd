"""A value set against its type: every wrong field, and every field the type does not have.

msgspec stops at the first wrong field and ignores unknown ones; a person wants to hear of all of them at once. The
structs stay the one description of what is right: their annotations are read, each struct's when a value of it comes
(`msgspec.inspect` reads all that a kind may hold, 30 ms for a Lab and a Pod).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache, cached_property
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec
from msgspec.structs import fields as fields_of

from k8snetlab.api import reference
from k8snetlab.api.bounds import BOUNDED, out_of_bounds
from k8snetlab.api.meta import Object
from k8snetlab.api.shape import TIME_HINT, Listeners, bits, held, is_time, plain, shape, silent
from k8snetlab.api.words import Path, describe, did_you_mean, shorten, show, too_large, unsupported
from k8snetlab.wording import whole


class Findings(msgspec.Struct):
    """(path, what is wrong and what would be right), for errors and for unknown fields.

    `meant` holds what was plainly meant at a wrong path (80 for "80"), so that the rest can be looked at all the same.
    `refused` holds, of what has the right type and a value that is refused, what an API server says of that.
    `blank` are fields whose empty string stands for their default. `ignored` are those that Kubernetes knows and that
    nobody acts on here, as far as they say anything.
    """

    wrong: list[tuple[Path, str]] = []
    unknown: list[tuple[Path, str]] = []
    meant: dict[Path, Any] = {}
    refused: dict[Path, str] = {}
    blank: list[Path] = []
    ignored: list[Path] = []

    def say_wrong(self, path: Path, message: str) -> None:
        self.wrong.append((path, message))

    def say_refused(self, path: Path, message: str) -> None:
        self.refused[path] = message
        self.wrong.append((path, message))

    def say_unknown(self, path: Path, hint: str) -> None:
        self.unknown.append((path, f'unknown field "{show(path)}"{hint}'))


Check = Callable[[Any, Path, Findings, str], None]
"""Looks at a value at a path; the last argument is its type in `reference`, "" where that has none."""


def check(value: Any, type_: type) -> Findings:
    """What would keep `value` (plain YAML values) from being a `type_`, which is a kind or a part of one."""
    findings = Findings()
    ref = getattr(type_, "REFERENCE", "") or getattr(type_, "KIND", "")
    _check_for(type_)(value, (), findings, ref)
    return findings


def usable(value: Any, findings: Findings) -> Any:
    """`value` with blanks left out and every wrong part corrected; None where it is not clear what one was meant to
    be."""
    if any(path not in findings.meant for path, _ in findings.wrong):
        return None
    if not findings.meant and not findings.blank:
        return value
    value = copy.deepcopy(value)
    for path, right in findings.meant.items():
        _parent(value, path)[path[-1]] = right
    for path in findings.blank:
        _parent(value, path).pop(path[-1], None)
    return value


def _parent(value: Any, path: Path) -> Any:
    for part in path[:-1]:
        value = value[part]
    return value


@cache
def _check_for(hint: Hashable) -> Check:
    """Of what an annotation allows."""
    arguments = get_args(hint)
    match get_origin(hint) or hint:
        case of if of is Annotated:
            return _annotated(*arguments)
        case of if of in (Union, UnionType):
            return _union(arguments)
        case of if of is Literal:
            return _literal(arguments)
        case of if of in (tuple, list):
            return _list(_check_for(arguments[0]))
        case of if of in (dict, Mapping):
            return _mapping(_check_for(arguments[1]))
        case of if of is int:
            return _int(None, None)
        case of if of is str:
            return _string
        case of if of is bool:
            return _bool
        case of if isinstance(of, type) and issubclass(of, msgspec.Struct):
            return _Struct(of)
    return lambda value, path, findings, ref: None


def _annotated(hint: Any, *notes: Any) -> Check:
    meta: Any = next(note for note in notes if isinstance(note, msgspec.Meta))
    inner = _int(meta.ge, meta.le) if hint is int else _check_for(hint)
    return _blank(inner) if "blank" in (meta.extra or {}) else inner


class _Struct:
    """A struct's check; its fields are read when the first value comes."""

    def __init__(self, type_: type[msgspec.Struct]) -> None:
        self._type, self._kind = type_, issubclass(type_, Object)
        self._plans: dict[str, Mapping[str, _Field]] = {}

    @cached_property
    def _fields(self) -> Mapping[str, Check]:
        return {field.encode_name: _check_for(field.type) for field in fields_of(self._type)}

    @cached_property
    def _required(self) -> Sequence[str]:
        return [field.encode_name for field in fields_of(self._type) if field.required or _demanded(field.type)]

    def _plan(self, ref: str) -> Mapping[str, _Field]:
        if ref not in self._plans:
            self._plans[ref] = _plan(self._fields, ref)
        return self._plans[ref]

    def __call__(self, value: Any, path: Path, findings: Findings, ref: str) -> None:
        if not isinstance(value, dict):
            findings.wrong.append((path, f"expected a mapping with {_some(self._fields)}, got {describe(value)}"))
            return
        known = self._plan(ref)
        for key, item in value.items():
            if (field := known.get(key)) is not None:
                place = (*path, key)
                field.check(item, place, findings, field.ref)
                if field.has_more:
                    _of_reference(item, place, findings, ref, key)
                continue
            if key in (theirs := reference.fields(ref)):
                _ignored(item, (*path, key), findings, ref, key)
            elif not (self._kind and key in ("apiVersion", "kind")):
                findings.say_unknown((*path, key), did_you_mean(key, [*self._fields, *theirs]))
        for key in self._required:
            if key not in value:
                findings.wrong.append(((*path, key), "Required value: it is missing and has no default"))


class _Field(NamedTuple):
    """A field of one of our types; `has_more`: whether the reference may say more of it than its own type."""

    check: Check
    ref: str
    has_more: bool


def _plan(fields: Mapping[str, Check], ref: str) -> Mapping[str, _Field]:
    """What there is to do with each field of a struct that is `ref` in the reference."""
    theirs = reference.fields(ref)
    return {
        key: _Field(nested, theirs.get(key, ""), ref in BOUNDED or held(ref, key) or plain(ref, key))
        for key, nested in fields.items()
    }


def _plainly(hint: Any) -> Any:
    """int of Annotated[int, …], tuple of tuple[str, …]."""
    return _plainly(get_args(hint)[0]) if get_origin(hint) is Annotated else get_origin(hint) or hint


def _demanded(hint: Any) -> bool:
    notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return any(isinstance(note, msgspec.Meta) and "required" in (note.extra or {}) for note in notes)


def _of_reference(value: Any, path: Path, findings: Findings, type_: str, field: str) -> None:
    """What the reference says of a field that one of our types has."""
    if type_ in BOUNDED:
        _bounded(value, path, findings, type_, field)
    if held(type_, field):
        _ignored(value, path, findings, type_, field)
    elif plain(type_, field) and value is not None:
        shape(value, path, reference.fields(type_)[field], _listeners(findings))


def _listeners(findings: Findings) -> Listeners:
    return Listeners(findings.say_wrong, findings.say_unknown, findings.say_refused)


def _bounded(value: Any, path: Path, findings: Findings, type_: str, field: str) -> None:
    if problem := out_of_bounds(type_, field, value):
        findings.say_refused(path, problem)


def _ignored(value: Any, path: Path, findings: Findings, type_: str, field: str) -> None:
    if type_.endswith(("Status", "Condition")) or field in ("status", "managedFields"):
        return  # the server's, whatever it is
    kind, allowed = reference.fields(type_)[field], reference.enumeration(type_, field)
    shape(value, path, kind, _listeners(findings), allowed=allowed)
    _bounded(value, path, findings, type_, field)
    if not silent(type_, field, value) and path not in findings.blank:
        findings.ignored.append(path)


def _blank(inner: Check) -> Check:
    def check(value: Any, path: Path, findings: Findings, ref: str) -> None:
        if value == "":
            findings.blank.append(path)
        else:
            inner(value, path, findings, ref)

    return check


def _some(fields: Mapping[str, Check]) -> str:
    names = list(fields)
    return ", ".join(names[:4]) + (" …" if len(names) > 4 else "")


def _list(item: Check) -> Check:
    def check(value: Any, path: Path, findings: Findings, ref: str) -> None:
        if not isinstance(value, list):
            findings.wrong.append((path, f'expected a list (items begin with "- "), got {describe(value)}'))
            return
        for number, element in enumerate(value):
            item(element, (*path, number), findings, ref[1:-1])

    return check


def _mapping(item: Check) -> Check:
    def check(value: Any, path: Path, findings: Findings, ref: str) -> None:
        if not isinstance(value, dict):
            findings.wrong.append((path, f"expected a mapping of names to values, got {describe(value)}"))
            return
        for key, element in value.items():
            item(element, (*path, key), findings, ref[1:-1])

    return check


def _int(low: int | None, high: int | None) -> Check:
    bounds = f" from {low} to {high}" if low is not None and high is not None else ""

    def check(value: Any, path: Path, findings: Findings, ref: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            number = whole(value) if isinstance(value, str) else None
            hint = ": write it without quotes" if number is not None else ""
            if number is not None:
                findings.meant[path] = number
            findings.wrong.append((path, f"expected a whole number{bounds}, got {describe(value)}{hint}"))
        elif (low is not None and value < low) or (high is not None and value > high):
            findings.wrong.append((path, f"{shorten(str(value))} is out of range; use a whole number{bounds}"))
            if not too_large(value, bits(ref)):  # else a real server's field cannot even hold it
                findings.refused[path] = f"Invalid value: {value}: must be {_demand(value, low, high)}"
            if low is not None and high is not None:
                findings.meant[path] = min(max(value, low), high)
        elif problem := too_large(value, bits(ref)):
            findings.wrong.append((path, problem))

    return check


def _demand(value: int, low: int | None, high: int | None) -> str:
    """As apimachinery words it: of ports, of what must not be negative, of all else."""
    if low == 0 and value < 0:
        return "greater than or equal to 0"
    return f"between {low} and {high}, inclusive"


def _string(value: Any, path: Path, findings: Findings, ref: str) -> None:
    if isinstance(value, str):
        if ref == "t" and not is_time(value):
            findings.wrong.append((path, f"expected a time, got {describe(value)}{TIME_HINT}"))
        return
    hint = ""
    if isinstance(value, bool):
        hint = " (unquoted true, yes, on, y and their opposites are booleans): write it in quotes"
    elif isinstance(value, int | float):
        hint = f': write it in quotes, "{shorten(str(value))}"'
    if hint:
        findings.meant[path] = str(value).lower()
    findings.wrong.append((path, f"expected a string, got {describe(value)}{hint}"))


def _bool(value: Any, path: Path, findings: Findings, ref: str) -> None:
    if not isinstance(value, bool):
        findings.wrong.append((path, f"expected true or false, got {describe(value)}"))


def _literal(allowed: Sequence[Any]) -> Check:
    values = [str(v) for v in allowed]

    def check(value: Any, path: Path, findings: Findings, ref: str) -> None:
        if not isinstance(value, str) or value not in values:
            if isinstance(value, str):
                hint = did_you_mean(value, values)
                if hint:
                    findings.meant[path] = next(right for right in values if hint.endswith(f'"{right}"?'))
                findings.refused[path] = unsupported(value, values)
                findings.wrong.append((path, findings.refused[path]))
            else:
                wanted = ", ".join(v for v in values if v)
                findings.wrong.append((path, f"expected one of {wanted}, got {describe(value)}"))

    return check


def _union(types: Sequence[Any]) -> Check:
    """The member of the value's own YAML type decides; where only one is left beside None, that one."""
    members = [one for one in types if one is not NoneType]
    if len(members) == 1:
        only = _check_for(members[0])
        return lambda value, path, findings, ref: None if value is None else only(value, path, findings, ref)
    nullable = len(members) < len(types)
    kinds: dict[type[Any], Check] = {}
    names = []
    for member in members:
        match _plainly(member):
            case of if of is tuple:
                kinds[list] = _check_for(member)
                names.append("a list")
            case of if of is int:
                kinds[int] = kinds[float] = _check_for(member)
                names.append("a whole number")
            case of if of is float:
                kinds[int] = kinds[float] = _check_for(member)
                names = [*(name for name in names if name != "a whole number"), "a number"]
            case of if of is str:
                kinds[str] = _check_for(member)
                names.append("a string")
            case _:
                raise NotImplementedError(member)

    def check(value: Any, path: Path, findings: Findings, ref: str) -> None:
        nested = kinds.get(type(value))
        if nested is not None:
            nested(value, path, findings, ref)
        elif value is not None or not nullable:
            findings.wrong.append((path, f"expected {' or '.join(names)}, got {describe(value)}"))

    return check
