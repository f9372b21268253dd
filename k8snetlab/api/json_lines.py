"""Documents that are JSON, each on a line of its own, read as JSON: in a twentieth of the time that YAML takes.

Programs write objects so. What is read here means the same as YAML; all that could mean something else, or is wrong, is
left to the one reader of YAML, which also knows how to say so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import yaml

MAX_DEPTH = 100
_OTHER = re.compile(r'[\x85\u2028\u2029\ufeff]|"<<"|\\u[dD][89a-fA-F]|' + yaml.reader.Reader.NON_PRINTABLE.pattern)
"""What YAML reads otherwise, or not at all: its own ends of lines, merged keys, half a character."""
_BEGIN = re.compile(r"\s*(---\s*\n|\{)")
_BRACKETS = re.compile(r"[][{}]")
Plain = Callable[[str], Any]


class OneLine(dict[tuple[str | int, ...], int]):
    """The lines of all fields of a document that has but one."""

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        super().__init__({(): number})
        self._number = number

    def __contains__(self, path: object) -> bool:
        return True

    def __getitem__(self, path: object) -> int:
        return self._number

    def get(self, path: object, other: Any = None) -> Any:
        return self._number


def documents(text: str, plain: Plain) -> list[tuple[int, Any]] | None:
    """The line and the value of each document; None where the text is anything but JSON, an object a document, each on
    a line of its own. `plain` says what a number means."""
    if not _BEGIN.match(text):
        return None
    decoder = json.JSONDecoder(object_pairs_hook=_mapping, parse_float=plain, parse_int=plain, parse_constant=_refused)
    found: list[tuple[int, Any]] = []
    separated = True
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip(" \r")
        if line == "---":
            separated = True
        elif line:
            if not (separated and line[0] == "{" and line[-1] == "}") or _is_other(line) or _is_deep(line):
                return None
            separated = False
            try:
                found.append((number, decoder.decode(line)))
            except (ValueError, RecursionError):
                return None
    return found


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Nulls are what is left out. Raises ValueError where a key appears twice."""
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key appears twice")
    return {key: item for key, item in pairs if item is not None} if None in value.values() else value


def _refused(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _is_other(line: str) -> bool:
    """Whether YAML reads it otherwise. Most lines are known not to be such without a look at each character in turn."""
    plain = line.isascii() and line.isprintable() and '"<<"' not in line and "\\u" not in line
    return not plain and _OTHER.search(line) is not None


def _is_deep(line: str) -> bool:
    """Whether it may be nested deeper than MAX_DEPTH; brackets in strings count."""
    if line.count("{") + line.count("[") <= MAX_DEPTH:
        return False
    depth = 0
    for bracket in _BRACKETS.findall(line):
        depth += 1 if bracket in "{[" else -1
        if depth > MAX_DEPTH:
            return True
    return False
