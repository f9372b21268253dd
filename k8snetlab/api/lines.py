"""The lines on which an object's fields were written, kept with it: a lab that runs names them as its manifest would.

They stand in an annotation, beside a sum of the spec that they belong to: of a spec that somebody has changed since,
no lines are known.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from k8snetlab.api.meta import Object
from k8snetlab.api.words import Path

if TYPE_CHECKING:
    from k8snetlab.api.source import Document

LINES = "k8snetlab/lines"
DEEPEST = 5
"""Steps of a path that is kept: spec.ingress[0].from[0]."""
DEEPER = {"Ingress": 6}
"""Of kinds whose fields stand deeper: spec.rules[0].http.paths[0]."""
READ = 256
"""Annotations that are read once only: their fields are asked for one after the other."""
LONGEST = 32_768
"""Octets of the annotation; of an object with more fields the deepest have none."""


def noted(obj: Object, document: Document, at: Path) -> dict[str, str]:
    """The annotation for an object that stands in a document at `at`; none for kinds whose lines are not kept."""
    if not obj.lined:
        return {}
    value = document.value
    for step in (*at, "spec"):
        value = value.get(step) if isinstance(value, dict) else value[step]
    most = DEEPER.get(obj.KIND, DEEPEST)
    own = {path: line for path in _paths(value, ("spec",), most) if (line := document.lines.get((*at, *path)))}
    for deepest in range(most, 0, -1):
        kept = [f"{'.'.join(map(str, path))}={line}" for path, line in own.items() if len(path) <= deepest]
        text = " ".join((_sum(obj), *kept))
        if len(text) <= LONGEST:
            return {LINES: text}
    return {}


def _paths(value: Any, path: Path, most: int) -> Iterator[Path]:
    """Of a value and of what is in it, as deep as lines are kept."""
    yield path
    if len(path) < most:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for step, inner in items:
            yield from _paths(inner, (*path, step), most)


def line(obj: Object, path: Path) -> str:
    """`file:line` of a field of the spec, or of the nearest one around it that was written; "" where nobody knows."""
    held = _lines(obj)
    while path and path not in held:
        path = path[:-1]
    file = obj.source.rpartition(":")[0]
    return f"{file}:{held[path]}" if path and file else ""


def _lines(obj: Object) -> Mapping[Path, str]:
    whole, _, entries = obj.metadata.annotations.get(LINES, "").partition(" ")
    return _read(entries) if whole == _sum(obj) else {}


@lru_cache(maxsize=READ)
def _read(entries: str) -> Mapping[Path, str]:
    pairs = (entry.partition("=") for entry in entries.split(" "))
    return {_path(path): number for path, _, number in pairs if _is_number(number)}


def _path(text: str) -> Path:
    return tuple(int(step) if _is_number(step) else step for step in text.split("."))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def _sum(obj: Object) -> str:
    """Of the spec but for the class that an Ingress is given when it names none."""
    spec: Any = getattr(obj, "spec", None)
    if hasattr(spec, "ingressClassName"):
        spec = msgspec.structs.replace(spec, ingressClassName=None)
    return f"{zlib.crc32(msgspec.json.encode(spec)):08x}"
