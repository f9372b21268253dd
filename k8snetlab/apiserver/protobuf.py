"""Objects in Kubernetes' protobuf as JSON-like builtins. Pure; only read, never written.

Source: apimachinery pkg/runtime/serializer/protobuf (prefix, runtime.Unknown), Protocol Buffers' encoding. Go writes
each field that is no pointer even where it holds nothing; an empty string therefore counts as one left out.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from k8snetlab.api import calico_policy, wire
from k8snetlab.errors import RequestError

Json = dict[str, Any]
MAGIC = b"k8s\x00"
DEEPEST = 64
VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5
_LATEST = 253402300799
"""The last second of the year 9999."""


def decoded(data: bytes) -> Json:
    """The object. Raises RequestError (400) for what is none."""
    if not data.startswith(MAGIC):
        raise _wrong("it does not begin as Kubernetes' protobuf does")
    whole = {number: value for number, _, value in _parts(data[len(MAGIC) :])}
    kind = {number: value for number, _, value in _parts(_bytes(whole.get(1, b"")))}
    version, name = _text(kind.get(1, b"")), _text(kind.get(2, b""))
    if not wire.fields(name) or version == calico_policy.VERSION:
        raise _wrong(f"no kind {name[:60]!r} is read in it: send JSON")
    if whole.get(3):
        raise _wrong("its contents are encoded once more")
    return {"apiVersion": version, "kind": name, **_message(_bytes(whole.get(2, b"")), name, DEEPEST)}


def _message(data: bytes, type_: str, depth: int) -> Json:
    if not depth:
        raise _wrong("it is nested too deeply")
    known = wire.fields(type_)
    found: Json = {}
    for number, form, value in _parts(data):
        field = known.get(number)
        if field is None or field.kind == "o":
            continue
        if field.inline:
            found |= _message(_bytes(value), field.kind, depth - 1)
        elif field.kind.startswith("["):
            _append(found.setdefault(field.name, []), form, value, field.kind[1:-1], depth)
        elif field.kind.startswith("{"):
            key, held = _entry(_bytes(value), field.kind[1:-1], depth)
            found.setdefault(field.name, {})[key] = held
        elif (one := _value(form, value, field.kind, depth)) not in ("", None):
            found[field.name] = one
    return found


def _append(items: list[Any], form: int, value: int | bytes, kind: str, depth: int) -> None:
    """One item, or several numbers in one piece."""
    if kind in "ib" and form == BYTES:
        data = _bytes(value)
        place = 0
        while place < len(data):
            number, place = _varint(data, place)
            items.append(_scalar(number, kind))
    else:
        items.append(_value(form, value, kind, depth))


def _entry(data: bytes, kind: str, depth: int) -> tuple[str, Any]:
    """Of a mapping: its key and what it holds."""
    key, held = "", _value(BYTES, b"", kind, depth)
    for number, form, value in _parts(data):
        if number == 1:
            key = _text(value)
        elif number == 2:
            held = _value(form, value, kind, depth)
    return key, held


def _value(form: int, value: int | bytes, kind: str, depth: int) -> Any:
    if kind in ("i", "b"):
        return _scalar(value, kind)
    data = _bytes(value)
    if kind == "s":
        return _text(data)
    if kind == "y":
        return base64.b64encode(data).decode()
    if kind in ("t", "m"):
        return _moment(data, kind == "m")
    held = {number: one for number, _, one in _parts(data)} if kind in ("q", "x") else {}
    if kind == "q":
        return _text(held.get(1, b""))
    if kind == "x":
        return _text(held.get(3, b"")) if held.get(1) == 1 else _scalar(held.get(2, 0), "i")
    if kind == "e":
        return [_text(one) for number, _, one in _parts(data) if number == 1]
    return _message(data, kind, depth - 1)


def _scalar(value: int | bytes, kind: str) -> int | bool:
    if not isinstance(value, int):
        raise _wrong("a number was expected")
    if kind == "b":
        return bool(value)
    return value - (1 << 64) if value >= 1 << 63 else value


def _moment(data: bytes, exact: bool) -> str | None:
    """RFC 3339, `exact` with microseconds; None for the zero of Go's."""
    held = {number: one for number, _, one in _parts(data)}
    if not held:
        return None
    seconds, nanos = (_scalar(held.get(number, 0), "i") for number in (1, 2))
    if not -62135596800 <= seconds <= _LATEST or not 0 <= nanos < 10**9:
        raise _wrong("a moment lies outside of the calendar")
    said = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{said}.{nanos // 1000:06}Z" if exact else f"{said}Z"


def _parts(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Each field: its number, its form on the wire, its value."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, form = tag >> 3, tag & 7
        if form == VARINT:
            value, place = _varint(data, place)
            yield number, form, value
            continue
        if form == BYTES:
            size, place = _varint(data, place)
        elif form in (EIGHT, FOUR):
            size = 8 if form == EIGHT else 4
        else:
            raise _wrong(f"form {form} of a field is unknown")
        if place + size > len(data):
            raise _wrong("it ends too early")
        yield number, form, data[place : place + size]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data) and shift < 70:
        octet = data[place]
        place += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, place
        shift += 7
    raise _wrong("a number in it does not end")


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise _wrong("bytes were expected")
    return value


def _text(value: int | bytes) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError as error:
        raise _wrong("a text in it is not UTF-8") from error


def _wrong(what: str) -> RequestError:
    return RequestError(f"the body of the request is no object in protobuf: {what}")
