"""The query parameters of a request.

A verb of the lab's own, and a deletion of many, where a word mistyped would delete more than was meant, refuse those
that they do not know; all else warns of them.
Source: meta/v1 ListOptions, GetOptions, CreateOptions, UpdateOptions, PatchOptions, DeleteOptions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from k8snetlab.api.meta import Object
from k8snetlab.api.selectors import FieldRequirements, LabelRequirements, parse_fields, parse_labels
from k8snetlab.api.words import did_you_mean, shorten
from k8snetlab.errors import InputError, RequestError

Query = Mapping[str, Sequence[str]]
GET = ("pretty", "resourceVersion", "includeObject", "timeout")
LIST = (
    *(
        "pretty",
        "includeObject",
        "timeout",
        "labelSelector",
        "fieldSelector",
        "limit",
        "continue",
        "resourceVersion",
        "resourceVersionMatch",
    ),
    *("timeoutSeconds", "watch", "allowWatchBookmarks", "sendInitialEvents"),
)
WRITE = ("pretty", "timeout", "dryRun", "fieldManager", "fieldValidation")
PATCH = (*WRITE, "force")
DELETE = ("pretty", "timeout", "dryRun", "gracePeriodSeconds", "propagationPolicy", "orphanDependents")
LARGEST = 2**63 - 1
STRANGE = 5
"""Unknown parameters that are told."""


_READ = frozenset((*GET, *LIST, *PATCH, *DELETE))


def unread(query: Query) -> tuple[str, ...]:
    """Warnings of parameters that no request for objects has: a real server takes them, and reads none of them."""
    strange = [word for word in query if word not in _READ][:STRANGE]
    return tuple(f"query parameter {shorten(word)!r} is ignored{did_you_mean(word, _READ)}" for word in strange)


def refuse_unknown(query: Query, known: Iterable[str], repeated: Iterable[str] = ()) -> None:
    """Raises RequestError for a parameter that is not `known`, or that is given twice and is not in `repeated`."""
    known, repeated = tuple(known), tuple(repeated)
    for word, values in query.items():
        if word not in known:
            raise RequestError(
                f"unknown query parameter {shorten(word)!r}{did_you_mean(word, known)}",
                f"there are {', '.join(sorted(known))}" if known else "there is none",
            )
        if len(values) > 1 and word not in repeated:
            raise RequestError(f"the query parameter {word!r} is given {len(values)} times")


def text(query: Query, word: str) -> str:
    """What it says first, as a real server reads it; "" where it is not given."""
    return query.get(word, ("",))[0]


def boolean(query: Query, word: str) -> bool:
    if word not in query:
        return False
    value = text(query, word)
    if value.lower() not in ("true", "1", "false", "0", ""):
        raise RequestError(f"{word}: expected true or false, got {shorten(value)!r}")
    return value.lower() not in ("false", "0")


def pretty(query: Query, agent: str) -> bool:
    """Whether JSON is indented: where that is asked for, and for those who only look (`agent`: User-Agent).

    Source: apiserver pkg/endpoints/handlers/negotiation (isPrettyPrint).
    """
    return boolean(query, "pretty") if "pretty" in query else agent.startswith(("curl", "Wget", "Mozilla/5.0"))


def number(query: Query, word: str, low: int = 0, high: int = LARGEST) -> int | None:
    """A whole number from `low` to `high`; None where the parameter is not given."""
    value = text(query, word)
    if not value:
        return None
    digits = value[1:] if value[:1] in "+-" else value
    whole = int(value) if digits.isascii() and digits.isdecimal() and len(digits) <= 19 else None
    if whole is None or not low <= whole <= high:
        raise RequestError(f"{word}: expected a whole number from {low} to {high}, got {shorten(value)!r}")
    return whole


class Selection(msgspec.Struct, frozen=True):
    """Which objects of a kind are meant: those of a namespace ("" for all) that both selectors match."""

    namespace: str
    labels: LabelRequirements
    fields: FieldRequirements

    @property
    def narrow(self) -> bool:
        return bool(self.labels.requirements or self.fields.requirements)

    def matches(self, obj: Object) -> bool:
        if self.namespace and obj.namespace != self.namespace:
            return False
        return self.labels.matches(obj.metadata.labels) and self.fields.matches(obj)


def selection(query: Query, type_: type[Object], namespace: str) -> Selection:
    try:
        return Selection(
            namespace if type_.namespaced else "",
            parse_labels(text(query, "labelSelector")),
            parse_fields(text(query, "fieldSelector"), type_),
        )
    except ValueError as error:
        raise RequestError(f"unable to parse requirement: {error}") from error


class Wish(msgspec.Struct, frozen=True):
    """How a write is to be done. `validation` is Strict, Warn or Ignore; `manager` owns the fields then, with `force`
    also those of others. `guard` looks at the object that is to be stored, and at the one it replaces: it raises what
    refuses it, and answers with what is to be warned of."""

    dry: bool = False
    validation: str = "Warn"
    manager: str = ""
    force: bool = False
    guard: Callable[[Object, Object | None], Sequence[str]] = lambda new, old: ()


def wish(query: Query, agent: str = "") -> Wish:
    """`agent` is the User-Agent: what it begins with is the manager where the query names none."""
    validation = text(query, "fieldValidation") or "Warn"
    if validation not in ("Strict", "Warn", "Ignore"):
        raise InputError(
            f'fieldValidation: Unsupported value: "{shorten(validation)}": supported values: "Ignore", "Strict", "Warn"'
        )
    manager = text(query, "fieldManager")
    if len(manager) > 128 or not manager.isprintable():
        raise InputError("fieldManager: Invalid value: at most 128 printable characters")
    return Wish(
        dry_run(query.get("dryRun", ())), validation, manager or agent.partition("/")[0][:128], boolean(query, "force")
    )


def dry_run(values: Sequence[str]) -> bool:
    for value in values:
        if value not in ("", "All"):
            raise InputError(f'dryRun: Unsupported value: "{shorten(value)}": supported values: "All"')
    return "All" in values
