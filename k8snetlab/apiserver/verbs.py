"""The lab's own verbs in a request: which one is meant, what it asks; what no verb knows is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from k8snetlab.api.words import describe, shorten
from k8snetlab.apiserver.negotiation import JSON, TEXT, check_accepted, check_body
from k8snetlab.apiserver.paths import not_allowed
from k8snetlab.apiserver.query import LARGEST, Query, boolean, number, refuse_unknown, text
from k8snetlab.errors import NotFoundError, RequestError
from k8snetlab.messages.verb import BASE, Verb

AnyVerb = Verb[Any]


@cache
def _type_info(type_: Any) -> inspect.Type:
    """Of a verb's type: to make it out takes longer than to read a question."""
    return inspect.type_info(type_)


class Meant(msgspec.Struct, frozen=True):
    """A verb that a request is for, and the parameters in its path."""

    verb: AnyVerb
    parameters: dict[str, str]


class VerbPaths:
    """The paths of a table of verbs."""

    def __init__(self, verbs: Iterable[AnyVerb]) -> None:
        self._verbs = [(re.compile(verb.pattern, re.DOTALL), verb) for verb in verbs]

    def find(self, method: str, path: str) -> Meant:
        """`path` is the request's. Raises NotFoundError, RequestError (405)."""
        own = path.removeprefix(f"{BASE}/")
        found = [(verb, match) for pattern, verb in self._verbs if (match := pattern.fullmatch(own))]
        if not found:
            raise NotFoundError(f"{shorten(path)} is no operation of this lab")
        for verb, match in found:
            if verb.method == method:
                return Meant(verb, match.groupdict())
        raise not_allowed(method, tuple(verb.method for verb, _ in found))


def check(verb: AnyVerb, values: Query, accept: str = "", body_type: str | None = None) -> None:
    """Raises RequestError for query words that the verb does not know, and for forms of a body or an answer that are
    not spoken; `body_type` is the Content-Type, None where there is no body."""
    words = {field.encode_name: field for field in verb.words}
    repeated = [name for name, field in words.items() if _is_list(_type_info(field.type))]
    refuse_unknown(values, (*words, "pretty"), repeated)
    check_accepted(accept, (JSON, TEXT))
    if body_type is not None:
        check_body(body_type)


def asked(meant: Meant, values: Query, body: Any = None) -> msgspec.Struct:
    """What is asked, of the verb's type. `body` is decoded JSON, None for none.

    Raises RequestError, msgspec.ValidationError, whose text has the path of what is wrong.
    """
    verb = meant.verb
    if body is not None and not isinstance(body, dict):
        raise RequestError(f"the body of the request is to be an object, got {describe(body)}")
    kind: Any = verb.request
    said: dict[str, Any] = {} if verb.has_query else without_nulls(body or {}, _type_info(kind))
    for field in verb.words:
        value = _read(values, field.encode_name, _type_info(field.type))
        if value is not None:
            said[field.encode_name] = value
    request: msgspec.Struct = msgspec.convert(said | meant.parameters, kind)
    return request


def without_nulls(value: Any, type_: inspect.Type) -> Any:
    """Decoded JSON for the type, less the members that are null and may be left out: they mean their defaults, as in
    Kubernetes' objects."""
    if isinstance(type_, inspect.StructType) and isinstance(value, dict):
        fields = {field.encode_name: field for field in type_.fields}
        return {
            name: without_nulls(member, fields[name].type) if name in fields else member
            for name, member in value.items()
            if member is not None or name not in fields or fields[name].required
        }
    if isinstance(type_, inspect.VarTupleType) and isinstance(value, list):
        return [without_nulls(item, type_.item_type) for item in value]
    return value


def _read(values: Query, word: str, type_: inspect.Type) -> Any:
    """The word's value in the form of its type, None where it says nothing."""
    if word not in values:
        return None
    if isinstance(type_, inspect.BoolType):
        return boolean(values, word)
    if isinstance(type_, inspect.IntType):
        return _number(values, word, type_)
    if isinstance(type_, inspect.VarTupleType):
        if isinstance(type_.item_type, inspect.IntType):
            return [_number({word: [value]}, word, type_.item_type) for value in values[word]]
        return list(values[word])
    if isinstance(type_, inspect.UnionType):
        return _read(values, word, next(one for one in type_.types if not isinstance(one, inspect.NoneType)))
    return text(values, word)


def _number(values: Query, word: str, type_: inspect.IntType) -> int | None:
    return number(values, word, 0 if type_.ge is None else type_.ge, LARGEST if type_.le is None else type_.le)


def _is_list(type_: inspect.Type) -> bool:
    return isinstance(type_, inspect.VarTupleType)
