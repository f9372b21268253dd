"""When a requirement of labels holds. Source: Kubernetes pkg/labels (Requirement.Matches)."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def holds(key: str, operator: str, values: Collection[str], labels: Mapping[str, str]) -> bool:
    """`operator` is In, NotIn, Exists, DoesNotExist, Gt or Lt (of one number); what lacks the key is NotIn any set."""
    value = labels.get(key)
    match operator:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    if value is None or len(values) != 1:
        return False
    have, limit = _integer(value), _integer(next(iter(values)))
    if have is None or limit is None:
        return False
    return have > limit if operator == "Gt" else have < limit


def _integer(text: str) -> int | None:
    """As Go's ParseInt reads it, in 64 bits."""
    digits = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    return int(text) if digits.isascii() and digits.isdecimal() and len(digits) < 19 else None
