"""Calico's selectors: text to a tree, the tree set against labels, and back to text as Calico prints it.

`role == "web" && has(tier) || !(env in {"dev", "test"})`. && binds tighter than ||; a string stands in ' or ", without
escapes. What Calico does with labels that are missing: != and not in hold, everything else does not.
Source: Calico's documentation, "Selectors"; libcalico-go/lib/selector (tokenizer, parser).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import msgspec

from k8snetlab.api.meta import Labels
from k8snetlab.api.words import shorten

LONGEST = 1024
"""Characters of a selector that a person writes (Calico's CRDs: MaxLength)."""
LONGEST_LABEL = 512
DEEPEST = 100
"""Parentheses inside one another. Calico's own parser has no bound but the length."""
NO_OPERATOR = "expected an operator after a label: ==, !=, in, not in, contains, starts with, ends with"


class SelectorError(ValueError):
    """What is wrong with a selector, and at which character, counted from 1."""


class Node(msgspec.Struct, frozen=True):
    """A part of a selector."""

    def matches(self, labels: Labels) -> bool:
        raise NotImplementedError

    def __str__(self) -> str:
        raise NotImplementedError

    def mapped(self, change: Callable[[Node], Node]) -> Node:
        """With every leaf changed."""
        return change(self)


class All(Node, frozen=True):
    def matches(self, labels: Labels) -> bool:
        return True

    def __str__(self) -> str:
        return "all()"


class Global(Node, frozen=True):
    """Of a namespaceSelector: what is in no namespace."""

    def matches(self, labels: Labels) -> bool:
        return True

    def __str__(self) -> str:
        return "global()"


class Has(Node, frozen=True):
    label: str

    def matches(self, labels: Labels) -> bool:
        return self.label in labels

    def __str__(self) -> str:
        return f"has({self.label})"


class Compared(Node, frozen=True):
    """A label, one of `OPERATORS`, and a text."""

    label: str
    operator: str
    value: str

    def matches(self, labels: Labels) -> bool:
        held = labels.get(self.label)
        if held is None:
            return self.operator == "!="
        return OPERATORS[self.operator](held, self.value)

    def __str__(self) -> str:
        return f"{self.label} {self.operator} {_quoted(self.value)}"


OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "==": lambda held, value: held == value,
    "!=": lambda held, value: held != value,
    "contains": lambda held, value: value in held,
    "starts with": lambda held, value: held.startswith(value),
    "ends with": lambda held, value: held.endswith(value),
}


class Among(Node, frozen=True):
    """`in` or, not `inside`, `not in` a set, of which `values` are sorted and each once."""

    label: str
    inside: bool
    values: tuple[str, ...]

    def matches(self, labels: Labels) -> bool:
        held = labels.get(self.label)
        return (held in self.values) is self.inside

    def __str__(self) -> str:
        return f"{self.label} {'in' if self.inside else 'not in'} {{{', '.join(map(_quoted, self.values))}}}"


class Not(Node, frozen=True):
    of: Node

    def matches(self, labels: Labels) -> bool:
        return not self.of.matches(labels)

    def __str__(self) -> str:
        return f"!{self.of}"

    def mapped(self, change: Callable[[Node], Node]) -> Node:
        return Not(self.of.mapped(change))


class Joined(Node, frozen=True):
    """Two or more parts of which each (`every`) or one has to match."""

    every: bool
    parts: tuple[Node, ...]

    def matches(self, labels: Labels) -> bool:
        held = (part.matches(labels) for part in self.parts)
        return all(held) if self.every else any(held)

    def __str__(self) -> str:
        return f"({(' && ' if self.every else ' || ').join(map(str, self.parts))})"

    def mapped(self, change: Callable[[Node], Node]) -> Node:
        return Joined(self.every, tuple(part.mapped(change) for part in self.parts))


def both(*parts: Node) -> Node:
    """What all of them match; of one that one."""
    return parts[0] if len(parts) == 1 else Joined(True, parts)


def prefixed(node: Node, prefix: str) -> Node:
    """With `prefix` before the name of each label."""

    def change(leaf: Node) -> Node:
        label = getattr(leaf, "label", None)
        return leaf if label is None else msgspec.structs.replace(leaf, label=prefix + label)

    return node.mapped(change)


def _quoted(text: str) -> str:
    quote = "'" if '"' in text else '"'
    return f"{quote}{text}{quote}"


# --- words ----------------------------------------------------------------------------------------------------------

_LABEL = re.compile(r"[A-Za-z0-9_./-]+")
_CALL = re.compile(r"(all|global)\([ \t]*\)|has\([ \t]*([A-Za-z0-9_./-]+)[ \t]*\)")
_OPENED = re.compile(r"(all|global|has)\(")
_WORD = re.compile(r"(contains|starts[ \t]*with|ends[ \t]*with|not[ \t]*in|in)(?![A-Za-z0-9_./-])")
_SIGNS = ("==", "!=", "&&", "||", "(", ")", "{", "}", ",", "!")


class _Token(NamedTuple):
    kind: str
    """A sign, an operator, or label, text, has, all, global, end."""
    value: str
    at: int


def _tokens(text: str) -> Iterator[_Token]:
    place, last = 0, ""
    while True:
        while text[place : place + 1] in (" ", "\t"):
            place += 1
        if place == len(text):
            yield _Token("end", "", place)
            return
        token, place = _token(text, place, last)
        last = token.kind
        yield token


def _token(text: str, place: int, last: str) -> tuple[_Token, int]:
    sign = next((sign for sign in _SIGNS if text.startswith(sign, place)), "")
    if sign:
        return _Token(sign, sign, place), place + len(sign)
    first = text[place]
    if first in "\"'":
        end = text.find(first, place + 1)
        if end < 0:
            raise _wrong(place, "a string begins that does not end")
        return _Token("text", text[place + 1 : end], place), end + 1
    if first in "=&|":
        raise _wrong(place, f"expected {first}{first}")
    if last == "label":
        if (word := _WORD.match(text, place)) is None:
            raise _wrong(place, NO_OPERATOR)
        kind = {"n": "not in", "s": "starts with", "e": "ends with"}.get(word[1][0], word[1])
        return _Token(kind, kind, place), word.end()
    if call := _CALL.match(text, place):
        label = call[2] or ""
        _length(label, place)
        return _Token(call[1] or "has", label, place), call.end()
    if opened := _OPENED.match(text, place):
        raise _wrong(place, f"expected {opened[1]}(label)" if opened[1] == "has" else f"expected {opened[1]}()")
    if (name := _LABEL.match(text, place)) is None:
        raise _wrong(place, f"{shorten(first)!r} begins nothing here")
    _length(name[0], place)
    return _Token("label", name[0], place), name.end()


def _length(label: str, place: int) -> None:
    if len(label) > LONGEST_LABEL:
        raise _wrong(place, f"a label's name is longer than {LONGEST_LABEL} characters")


def _wrong(place: int, message: str) -> SelectorError:
    return SelectorError(f"{message} (at character {place + 1})")


# --- sentences ------------------------------------------------------------------------------------------------------


class _Parser:
    def __init__(self, text: str) -> None:
        self._words = list(_tokens(text))
        self._place = self._depth = 0

    def whole(self) -> Node:
        if self._next.kind == "end":
            return All()
        found = self._some()
        if self._next.kind != "end":
            raise _wrong(self._next.at, "expected && or || or the end")
        return found

    @property
    def _next(self) -> _Token:
        return self._words[self._place]

    def _take(self) -> _Token:
        token = self._next
        self._place += 1
        return token

    def _some(self) -> Node:
        return self._joined("||", self._every)

    def _every(self) -> Node:
        return self._joined("&&", self._one)

    def _joined(self, sign: str, part: Callable[[], Node]) -> Node:
        parts = [part()]
        while self._next.kind == sign:
            self._take()
            parts.append(part())
        return parts[0] if len(parts) == 1 else Joined(sign == "&&", tuple(parts))

    def _one(self) -> Node:
        negated = False
        while self._next.kind == "!":
            self._take()
            negated = not negated
        found = self._positive()
        return Not(found) if negated else found

    def _positive(self) -> Node:
        token = self._take() if self._next.kind != "end" else self._next
        match token.kind:
            case "all":
                return All()
            case "global":
                return Global()
            case "has":
                return Has(token.value)
            case "label":
                return self._of_label(token.value)
            case "(":
                return self._inside(token)
            case "end":
                raise _wrong(token.at, "expected a comparison, has(label), all() or (, and there is nothing more")
        raise _wrong(token.at, "expected a comparison, has(label), all() or (")

    def _inside(self, opened: _Token) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise _wrong(opened.at, f"more than {DEEPEST} parentheses are inside one another")
        found = self._some()
        if self._next.kind != ")":
            raise _wrong(self._next.at, f"expected ) for the ( at character {opened.at + 1}")
        self._take()
        self._depth -= 1
        return found

    def _of_label(self, label: str) -> Node:
        operator = self._next
        if operator.kind in ("in", "not in"):
            self._take()
            return Among(label, operator.kind == "in", self._set())
        if operator.kind not in OPERATORS:
            raise _wrong(operator.at, NO_OPERATOR)
        self._take()
        return Compared(label, operator.kind, self._text())

    def _set(self) -> tuple[str, ...]:
        if self._next.kind != "{":
            raise _wrong(self._next.at, 'expected a set, as {"a", "b"}')
        self._take()
        found = []
        while self._next.kind == "text":
            found.append(self._take().value)
            if self._next.kind != ",":
                break
            self._take()
        if self._next.kind != "}":
            raise _wrong(self._next.at, "expected } or another string")
        self._take()
        return tuple(sorted(set(found)))

    def _text(self) -> str:
        if self._next.kind != "text":
            raise _wrong(self._next.at, "expected a string in \" or '")
        return self._take().value


@lru_cache(maxsize=4096)
def parse(text: str) -> Node:
    """The selector of a text; an empty one selects all. Raises SelectorError."""
    if len(text) > LONGEST:
        raise SelectorError(f"has {len(text)} characters; at most {LONGEST} are taken")
    return _Parser(text).whole()


def mentions_global(node: Node) -> bool:
    """Whether global() is anywhere in it."""
    found = []

    def look(leaf: Node) -> Node:
        found.append(isinstance(leaf, Global))
        return leaf

    node.mapped(look)
    return any(found)
