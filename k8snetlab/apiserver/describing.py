"""What `kubectl explain` says of kinds and their fields, from descriptions.txt: `Type: text`, `Type.field: text`, and
`*.field: text` for fields of that name everywhere else. Of what has no effect in a lab it says so."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from k8snetlab.api.effects import effects
from k8snetlab.api.kinds import BUILT_IN

NO_EFFECT = "Checked and kept; it has no effect in a lab."
_ALIKE = {"EphemeralContainer": "Container"}
_FILE = Path(__file__).with_name("descriptions.txt")


def of_type(type_: str) -> str:
    """A sentence, "" for none."""
    return _texts().get(type_, "")


def of_field(type_: str, field: str) -> str:
    """One or two sentences, "" for none."""
    texts = _texts()
    type_ = _ALIKE.get(type_, type_)
    said = texts.get(f"{type_}.{field}") or texts.get(f"*.{field}", "")
    return f"{said} {NO_EFFECT}".lstrip() if (type_, field) in _without_effect() else said


@cache
def _texts() -> Mapping[str, str]:
    lines = _FILE.read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines if line)


@cache
def _without_effect() -> frozenset[tuple[str, str]]:
    kinds = [resource.type for resource in BUILT_IN.all if resource.defined is None]
    return frozenset((one.type_, field) for one in effects(kinds) for field in one.rest)
