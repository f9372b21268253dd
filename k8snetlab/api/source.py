"""YAML text to plain values, with the line of every field.

The YAML that Kubernetes reads is JSON in other clothes: mappings with string keys, sequences, strings, numbers,
booleans and null. Scalars are resolved as its parser does (sigs.k8s.io/yaml: YAML 1.1 without dates and sexagesimals);
what JSON cannot express is a flaw. Built on the parser's events, not its nodes, because libyaml's composer recurses in
C and dies of a signal on deep nesting.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import yaml

from k8snetlab.api import json_lines
from k8snetlab.api.json_lines import MAX_DEPTH
from k8snetlab.api.words import Path

MAX_ALIASED = 100_000
"""How many values aliases may add up to (against the "billion laughs")."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TRUE = {"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"}
_FALSE = {"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"}
_NULL = {"", "~", "null", "Null", "NULL"}
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*|0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+)\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_TAG = "tag:yaml.org,2002:"
_NO_TEXT = "the file is not UTF-8 text; manifests are YAML or JSON text"
_SURROGATES = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE)
"""JSON's way to write a character beyond U+FFFF, which YAML does not know."""


class Document(msgspec.Struct):
    """One document: its value and the line of every field path in it (`()` is the document itself)."""

    file: str
    value: Any
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """The line of a field, or of the nearest one around it that was written."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 1)


class Flaw(msgspec.Struct, frozen=True):
    """A place where the text is no YAML that Kubernetes would read."""

    file: str
    line: int
    message: str


def parse(text: str | bytes, file: str) -> tuple[list[Document], list[Flaw]]:
    """Every document that is not empty, and every flaw; what follows a syntax error is not read."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        text.encode()
    except UnicodeDecodeError as error:
        return [], [Flaw(file, error.object.count(b"\n", 0, error.start) + 1, _NO_TEXT)]
    except UnicodeEncodeError as error:
        return [], [Flaw(file, error.object.count("\n", 0, error.start) + 1, _NO_TEXT)]
    if (lines := json_lines.documents(text, _plain)) is not None:
        return [Document(file, value, json_lines.OneLine(line)) for line, value in lines], []
    return _as_yaml(text, file)


def _as_yaml(text: str, file: str) -> tuple[list[Document], list[Flaw]]:
    if text.lstrip().startswith(("{", "[")):
        text = _SURROGATES.sub(_pair, text)
    builder = _Builder(file)
    documents: list[Document] = []
    try:
        for document in builder.documents(yaml.parse(text, Loader=_LOADER)):
            documents.append(document)
    except yaml.MarkedYAMLError as error:
        builder.flaw(_line(error), _explain(error, text))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else 1
        builder.flaw(line, f"character U+{_codepoint(error):04X} cannot stand in YAML; is this a text file?")
    except yaml.YAMLError as error:
        builder.flaw(1, f"not YAML: {error}")
    except _Stop:
        pass
    return documents, builder.flaws


def _pair(match: re.Match[str]) -> str:
    return bytes.fromhex(match[1] + match[2]).decode("utf-16-be")


def _line(error: yaml.MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark else 1


def _explain(error: yaml.MarkedYAMLError, text: str) -> str:
    lines = text.splitlines()
    number = _line(error)
    line = lines[number - 1] if number <= len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "a tab cannot indent YAML; use spaces"
    parts = [part for part in (error.context, error.problem) if part]
    if "exceeded maximum nesting depth" in parts:  # PyYAML from 6.0.4 on looks first
        return f"nested deeper than {MAX_DEPTH} levels"
    return f"not YAML: {', '.join(parts) or 'cannot be read'}"


def _codepoint(error: yaml.reader.ReaderError) -> int:
    return error.character if isinstance(error.character, int) else ord(str(error.character)[:1] or "\0")


class _Stop(Exception):
    """The rest of the file is not worth reading; the flaw has been noted."""


class _Open:
    """A mapping or sequence whose end has not been read yet."""

    __slots__ = ("anchor", "is_mapping", "key", "key_line", "lines", "merged", "path", "value")

    def __init__(self, value: dict[str, Any] | list[Any], path: Path, anchor: str | None) -> None:
        self.value: Any = value
        self.is_mapping = isinstance(value, dict)
        self.path = path
        self.anchor = anchor
        self.key: str | None = None
        self.key_line = 0
        self.lines: dict[str, int] = {}
        self.merged: list[Any] = []


_MERGE = "<<"
_PENDING = object()


class _Builder:
    def __init__(self, file: str) -> None:
        self.file = file
        self.flaws: list[Flaw] = []
        self.aliased = 0

    def flaw(self, line: int, message: str) -> None:
        self.flaws.append(Flaw(self.file, line, message))

    def documents(self, events: Iterator[Any]) -> Iterator[Document]:
        read: dict[type[yaml.Event], Callable[[Any], None]] = {
            yaml.ScalarEvent: self.scalar,
            yaml.DocumentStartEvent: self.start,
            yaml.AliasEvent: self.alias,
            yaml.MappingStartEvent: self.begin,
            yaml.SequenceStartEvent: self.begin,
            yaml.MappingEndEvent: self.end,
            yaml.SequenceEndEvent: self.end,
        }
        for event in events:
            if (reader := read.get(type(event))) is not None:
                reader(event)
            elif type(event) is yaml.DocumentEndEvent and self.root is not None and self.root is not _PENDING:
                yield Document(self.file, self.root, self.lines)

    def start(self, _: Any) -> None:
        self.root: Any = _PENDING
        self.stack: list[_Open] = []
        self.anchors: dict[str, Any] = {}
        self.lines: dict[Path, int] = {}

    # --- events ---

    def begin(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if len(self.stack) >= MAX_DEPTH:
            self.flaw(line, f"nested deeper than {MAX_DEPTH} levels")
            raise _Stop
        if self.expects_key():
            self.flaw(line, "a key must be a string, not a mapping or a list")
            raise _Stop
        if event.tag not in (None, "!", _TAG + "map", _TAG + "seq"):
            self.flaw(line, f"tag {_short(event.tag)} is not JSON, so Kubernetes would not read it")
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        opened = _Open(value, self.place(line), event.anchor)
        if event.anchor:
            self.anchors[event.anchor] = _PENDING
        self.stack.append(opened)

    def end(self, _: Any) -> None:
        opened = self.stack.pop()
        if isinstance(opened.value, dict):
            for mapping in opened.merged:
                for key, value in mapping.items():
                    opened.value.setdefault(key, value)
        if opened.anchor:
            self.anchors[opened.anchor] = opened.value
        self.put(opened.value)

    def scalar(self, event: Any) -> None:
        """First what most are: a key that is not there yet, and its value."""
        line = event.start_mark.line + 1
        quoted = event.tag is None and not event.implicit[0]
        value = event.value if quoted else self.resolve(event, line)
        top = self.stack[-1] if self.stack else None
        if top is not None and top.is_mapping:
            if top.key is None:
                if type(value) is str and value not in top.lines:
                    top.lines[value] = top.key_line = line
                    top.key = value
                else:
                    self.key(value, line, event)
                return
            if event.anchor is None and value is not None and top.key != _MERGE:
                self.lines[(*top.path, top.key)] = top.key_line
                top.value[top.key], top.key = value, None
                return
        self.place(line)
        if event.anchor:
            self.anchors[event.anchor] = value
        self.put(value)

    def alias(self, event: Any) -> None:
        line = event.start_mark.line + 1
        value = self.anchors.get(event.anchor, self)
        if value is self:
            self.flaw(line, f"alias *{event.anchor} has no anchor &{event.anchor} before it")
            raise _Stop
        if value is _PENDING:
            self.flaw(line, f"alias *{event.anchor} stands inside its own anchor: it would never end")
            raise _Stop
        if self.expects_key():
            self.key(value, line, event)
            return
        self.copy(value, self.place(line), line)
        self.put(value)

    def copy(self, value: Any, path: Path, line: int) -> None:
        """Counts an aliased value and gives its fields the alias's line."""
        todo = [(value, path)]
        while todo:
            value, path = todo.pop()
            self.aliased += 1
            if self.aliased > MAX_ALIASED or len(path) > MAX_DEPTH:
                self.flaw(line, f"aliases add up to more than {MAX_ALIASED} values or {MAX_DEPTH} levels")
                raise _Stop
            self.lines[path] = line
            children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
            todo.extend((child, (*path, key)) for key, child in children)

    # --- places ---

    def expects_key(self) -> bool:
        return bool(self.stack) and self.stack[-1].is_mapping and self.stack[-1].key is None

    def place(self, line: int) -> Path:
        """The path of the value that begins now; its line is that of its key."""
        if not self.stack:
            self.lines[()] = line
            return ()
        top = self.stack[-1]
        if top.is_mapping:
            path = (*top.path, top.key or "")
            self.lines[path] = top.key_line
        else:
            path = (*top.path, len(top.value))
            self.lines[path] = line
        return path

    def put(self, value: Any) -> None:
        if not self.stack:
            self.root = value
            return
        top = self.stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
            return
        key, top.key = top.key or "", None
        if key == _MERGE:
            merged = value if isinstance(value, list) else [value]
            if all(isinstance(m, dict) for m in merged):
                top.merged.extend(merged)
            else:
                self.flaw(top.key_line, "<< takes a mapping, or a list of mappings")
        elif value is not None:
            top.value[key] = value

    def key(self, value: Any, line: int, event: Any) -> None:
        top = self.stack[-1]
        if isinstance(value, bool):
            value = "true" if value else "false"
        elif isinstance(value, int | float):
            value = str(value)
        if not isinstance(value, str):
            self.flaw(line, "a key must be a string, not null, a mapping or a list")
            value = f"?{len(top.lines)}"
        if value in top.lines and value != _MERGE:
            self.flaw(line, f'key "{_cut(value)}" appears twice (first on line {top.lines[value]})')
        top.lines.setdefault(value, line)
        top.key, top.key_line = value, line

    # --- scalars ---

    def resolve(self, event: Any, line: int) -> Any:
        text: str = event.value
        tag = event.tag
        if tag is None and event.implicit[0]:
            return _plain(text)
        if tag in (None, "!", _TAG + "str"):
            return text
        if tag == _TAG + "binary":
            try:
                return base64.b64decode("".join(text.split()), validate=True).decode()
            except (binascii.Error, UnicodeDecodeError, ValueError):
                self.flaw(line, "!!binary: not the base64 of UTF-8 text")
                return ""
        value = _plain(text)
        wanted = {"int": int, "float": int | float, "bool": bool, "null": type(None)}.get(tag.removeprefix(_TAG))
        if wanted is None or tag == tag.removeprefix(_TAG):
            self.flaw(line, f"tag {_short(tag)} is not JSON, so Kubernetes would not read it")
            return text
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            self.flaw(line, f'"{_cut(text)}" is no {_short(tag)}')
        return value


def _plain(text: str) -> Any:
    """What an unquoted scalar means."""
    if text in _NULL:
        return None
    first = text[0]
    if first.isalpha():
        return True if text in _TRUE else False if text in _FALSE else text
    if first in "0123456789+-.":
        if len(text) <= 70 and _INT.match(text):
            return _integer(text)
        if len(text) <= 70 and _FLOAT.match(text):
            value = float(text)
            if not math.isfinite(value):
                return text
            return int(value) if value.is_integer() and abs(value) < 2**53 else value
    return text


def _integer(text: str) -> int | str:
    digits = text.replace("_", "").lower()
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    base = {"0x": 16, "0b": 2, "0o": 8}.get(digits[:2], 8 if digits.startswith("0") and len(digits) > 1 else 10)
    digits = digits[2:] if digits[:2] in ("0x", "0b", "0o") else digits
    return sign * int(digits, base) if digits else text


def _short(tag: str) -> str:
    return "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else _cut(tag)


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"
