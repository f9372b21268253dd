"""JSONPath, as far as columns and parts of custom kinds use it: fields, indexes, [*], and a filter by equality.

Source: client-go util/jsonpath, and what definitions in use say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

LONGEST = 1024
FOUND = 1000
"""Values that a path may lead to."""
_STEP = re.compile(
    r"""\.(?P<name>(?:[A-Za-z0-9_\-/]|\\.)+)
      | \[(?P<index>-?[0-9]{1,9})\]
      | (?P<all>\[\*\]|\.\*)
      | \[(?P<quote>['"])(?P<quoted>[^'"\]]+)(?P=quote)\]
      | \[\?\(\s*@\.(?P<key>[A-Za-z0-9_\-.]+)\s*==\s*(?P<wanted>"[^"]*"|'[^']*'|-?[0-9]{1,18}|true|false)\s*\)\]
    """,
    re.VERBOSE,
)


class Filter(NamedTuple):
    key: tuple[str, ...]
    wanted: Any


Step = str | int | Filter | None
"""A field, an index, a filter, or (None) all of them."""


@lru_cache(maxsize=4096)
def parse(text: str) -> tuple[Step, ...]:
    """Of ".spec.replicas". Raises ValueError for what is none, or says more than is known here."""
    said = text.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    if len(text) > LONGEST:
        raise ValueError(f"a path of at most {LONGEST} characters")
    steps: list[Step] = []
    place = 0
    while place < len(said):
        match = _STEP.match(said, place)
        if match is None:
            raise ValueError(
                f"not understood from character {place + 1} on: use .field, [0], [*] or [?(@.field==value)]"
            )
        steps.append(_step(match))
        place = match.end()
    if not steps:
        raise ValueError("it names no field")
    return tuple(steps)


def _step(match: re.Match[str]) -> Step:
    if name := match["name"] or match["quoted"]:
        return re.sub(r"\\(.)", r"\1", name)
    if match["index"]:
        return int(match["index"])
    if match["all"]:
        return None
    wanted = match["wanted"]
    return Filter(tuple(match["key"].split(".")), wanted[1:-1] if wanted[0] in "'\"" else msgspec.json.decode(wanted))


def find(value: Any, steps: tuple[Step, ...]) -> list[Any]:
    """What the path leads to; nothing where a part of it is missing."""
    found = [value]
    for step in steps:
        found = [inner for one in found for inner in _next(one, step)][:FOUND]
    return found


def _next(value: Any, step: Step) -> Iterator[Any]:
    match step:
        case str():
            if isinstance(value, dict) and step in value:
                yield value[step]
        case int():
            if isinstance(value, list) and -len(value) <= step < len(value):
                yield value[step]
        case Filter():
            for one in value if isinstance(value, list) else ():
                if find(one, step.key) == [step.wanted]:
                    yield one
        case None:
            yield from value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
