"""How fields and values are named in messages about manifests: one line, short, without control characters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from k8snetlab.wording import near

Path = tuple[str | int, ...]
"""Where a field stands in its document."""


def show(path: Path) -> str:
    """A path as Kubernetes writes it: spec.ports[0].port."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.replace("-", "").replace("_", "").isalnum():
            text += f".{part}" if text else part
        else:
            text += f'["{shorten(part)}"]'
    return text


def too_large(value: int, bits: int) -> str:
    """Why a number is none of a field, in the words of Go's encoding/json, "" where it is one."""
    if -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
        return ""
    return f"cannot unmarshal number {shorten(str(value))} into a field of type int{bits}: it is out of range"


def shorten(text: str) -> str:
    """One line of at most 60 characters, control characters escaped."""
    text = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return text if len(text) <= 60 else text[:57] + "…"


def describe(value: Any) -> str:
    """A value for an error message."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"the number {shorten(str(value))}"
        case str():
            return f'"{shorten(value)}"'
        case dict():
            return "a mapping"
        case _:
            return "a list"


def did_you_mean(word: str, words: Any) -> str:
    """'; did you mean "ports"?' where one of `words` is close, else ""."""
    close = near(word, map(str, words), cutoff=0.7)
    return f'; did you mean "{close}"?' if close else ""


def unsupported(value: str, values: Iterable[str]) -> str:
    """Kubernetes' words for a value that is none of a few."""
    few = sorted(v for v in values if v)
    listed = ", ".join(f'"{v}"' for v in few)
    return f'Unsupported value: "{shorten(value)}": supported values: {listed}{did_you_mean(value, few)}'


def nothing(value: Any) -> bool:
    """Whether a value says nothing: none, or an empty string, list or mapping."""
    return value is None or value == "" or value == [] or value == {}
