"""Label and field selectors as requests carry them: text to something that matches objects.

Source: apimachinery pkg/labels (selector.go) and pkg/fields (selector.go); which fields a kind has, from
pkg/registry/*/strategy.go and pkg/apis/core/v1/conversion.go of Kubernetes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

import msgspec

from k8snetlab.api.apps import ReplicaSet
from k8snetlab.api.core import Namespace, Node, Pod, Service
from k8snetlab.api.events import Event
from k8snetlab.api.meta import Labels, Object
from k8snetlab.api.requirements import holds
from k8snetlab.api.workloads import Job, ReplicationController

_TOKEN = re.compile(r"\s*(==|!=|[=!(),<>]|[^\s=!(),<>]+)")
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_WORDS = {"in": "In", "notin": "NotIn"}
_SIGNS = {"=": "In", "==": "In", "!=": "NotIn", ">": "Gt", "<": "Lt"}


class Requirement(msgspec.Struct, frozen=True):
    """`operator` is In, NotIn, Exists, DoesNotExist, Gt or Lt; what lacks the key is NotIn every set."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def holds(self, labels: Labels) -> bool:
        return holds(self.key, self.operator, self.values, labels)


class LabelRequirements(msgspec.Struct, frozen=True):
    """Of a selector such as `app=web,tier in (a, b),!old`: all of them have to hold."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Labels) -> bool:
        return all(one.holds(labels) for one in self.requirements)


def parse_labels(text: str) -> LabelRequirements:
    """The selector in `text`; an empty one matches everything. Raises ValueError, saying what is wrong."""
    tokens = list(_tokens(text))
    found: list[Requirement] = []
    while tokens:
        found.append(_requirement(tokens, text))
        if tokens and (tokens[0] != "," or len(tokens) == 1):
            raise ValueError(f"{_quoted(text)}: found {_quoted(tokens[0])}, expected ',' and a key, or the end")
        del tokens[:1]
    return LabelRequirements(tuple(found))


def _tokens(text: str) -> Iterator[str]:
    end = len(text.rstrip())
    position = 0
    while position < end:
        match = _TOKEN.match(text, position)
        assert match is not None  # every character begins some token
        yield match[1]
        position = match.end()


def _requirement(tokens: list[str], text: str) -> Requirement:
    """One requirement, taken off the tokens."""
    absent = tokens[0] == "!"
    if absent:
        tokens.pop(0)
    key = _word(tokens, text, "a label's key")
    prefix, slash, name = key.rpartition("/")
    if not _NAME.fullmatch(name) or (slash and not _PREFIX.fullmatch(prefix)):
        raise ValueError(f"{_quoted(text)}: {_quoted(key)} is no label key")
    if absent or not tokens or tokens[0] == ",":
        return Requirement(key, "DoesNotExist" if absent else "Exists")
    sign = tokens.pop(0)
    if sign in _WORDS:
        values = _set(tokens, text)
    elif sign in _SIGNS:
        values = {_word(tokens, text, "a value") if tokens and tokens[0] != "," else ""}
    else:
        raise ValueError(f"{_quoted(text)}: found {_quoted(sign)}, expected one of =, ==, !=, in, notin, <, >")
    for value in values:
        if value and not _NAME.fullmatch(value):
            raise ValueError(f"{_quoted(text)}: {_quoted(value)} is no label value")
        if sign in "<>" and not re.fullmatch(r"[+-]?\d{1,18}", value):
            raise ValueError(f"{_quoted(text)}: for '<' and '>' the value must be an integer, not {_quoted(value)}")
    return Requirement(key, _WORDS.get(sign) or _SIGNS[sign], frozenset(values))


def _set(tokens: list[str], text: str) -> set[str]:
    if not tokens or tokens.pop(0) != "(":
        raise ValueError(f"{_quoted(text)}: in and notin need a set of values: (a, b)")
    values, value = set(), ""
    while tokens:
        token = tokens.pop(0)
        if token in (",", ")"):
            values.add(value)
            value = ""
            if token == ")":
                return values
        elif value:
            break
        else:
            tokens.insert(0, token)
            value = _word(tokens, text, "a value")
    raise ValueError(f"{_quoted(text)}: the set of values is not closed by ')'")


def _word(tokens: list[str], text: str, what: str) -> str:
    word = tokens.pop(0) if tokens else ""
    if not word or word in _SIGNS or word in "!(),":
        found = _quoted(word) if word else "nothing"
        raise ValueError(f"{_quoted(text)}: found {found}, expected {what}")
    return word


def _quoted(text: str) -> str:
    text = text if text.isprintable() else text.encode("unicode_escape").decode()
    return f"'{text if len(text) <= 60 else text[:57] + '…'}'"


# --- fields -----------------------------------------------------------------------------------------------------------

Field = Callable[[Any], str]


def _boolean(value: bool) -> str:
    return "true" if value else "false"


_META: dict[str, Field] = {"metadata.name": lambda o: str(o.name), "metadata.namespace": lambda o: str(o.namespace)}
FIELDS: dict[type[Object], dict[str, Field]] = {
    Namespace: {"status.phase": lambda n: str(n.status.phase)},
    Node: {"spec.unschedulable": lambda n: _boolean(n.spec.unschedulable)},
    Pod: {
        "spec.nodeName": lambda p: str(p.spec.nodeName),
        "spec.restartPolicy": lambda p: str(p.spec.restartPolicy),
        "spec.schedulerName": lambda p: str(p.spec.schedulerName),
        "spec.serviceAccountName": lambda p: str(p.spec.serviceAccountName),
        "spec.hostNetwork": lambda p: _boolean(p.spec.hostNetwork),
        "status.phase": lambda p: str(p.status.phase),
        "status.podIP": lambda p: str(p.status.podIP),
        "status.podIPs": lambda p: ",".join(p.ips),
        "status.nominatedNodeName": lambda p: "",
    },
    Service: {
        "spec.clusterIP": lambda s: str(s.spec.clusterIP),
        "spec.type": lambda s: str(s.spec.type),
    },
    ReplicaSet: {"status.replicas": lambda r: str(r.status.replicas)},
    ReplicationController: {"status.replicas": lambda r: str(r.status.replicas)},
    Job: {"status.successful": lambda j: str(j.status.succeeded)},
    Event: {
        **{
            f"involvedObject.{name}": attrgetter(f"involvedObject.{name}")
            for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
        },
        **{
            f"regarding.{name}": attrgetter(f"involvedObject.{name}")
            for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
        },
        "reason": lambda e: str(e.reason),
        "reportingController": lambda e: str(e.reportingComponent or e.origin.component),
        "reportingComponent": lambda e: str(e.reportingComponent or e.origin.component),
        "source": lambda e: str(e.origin.component or e.reportingComponent),
        "type": lambda e: str(e.type),
    },
}
"""The fields of each kind that may be selected by, beside its name and namespace."""


class FieldRequirement(msgspec.Struct, frozen=True):
    field: str
    value: str
    equal: bool


class FieldRequirements(msgspec.Struct, frozen=True):
    """Of a selector such as `status.phase!=Running,spec.nodeName=node1`, for objects of one kind."""

    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, obj: Object) -> bool:
        known = {**_META, **FIELDS.get(type(obj), {})}
        return all((known[one.field](obj) == one.value) == one.equal for one in self.requirements)


def parse_fields(text: str, type_: type[Object]) -> FieldRequirements:
    """The field selector in `text` for a kind; an empty one matches everything. Raises ValueError."""
    known = {**_META, **FIELDS.get(type_, {})}
    found = []
    for term in _terms(text):
        match = re.fullmatch(r"((?:[^=!\\]|\\.)*)(==|!=|=)((?:[^\\]|\\.)*)", term, re.DOTALL)
        if match is None:
            raise ValueError(f"invalid selector: {_quoted(text)}; can't understand {_quoted(term)}")
        field, sign, value = match[1].strip(), match[2], match[3]
        if re.search(r"(?<!\\)(\\\\)*=", value):
            raise ValueError(f"invalid selector: {_quoted(text)}; can't understand {_quoted(term)}")
        if field not in known:
            raise ValueError(
                f"field label not supported: {_quoted(field)}; of a {type_.KIND} there are {', '.join(sorted(known))}"
            )
        found.append(FieldRequirement(field, re.sub(r"\\([\\,=])", r"\1", value), sign != "!="))
    return FieldRequirements(tuple(found))


def _terms(text: str) -> list[str]:
    """Parted at commas that no backslash precedes."""
    terms = [match[0] for match in re.finditer(r"(?:[^,\\]|\\.|\\$)+", text, re.DOTALL)]
    return [term for term in terms if term.strip()]
