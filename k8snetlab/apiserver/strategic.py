"""Strategic merge patch: a patch in the shape of the object, in which lists of objects are merged by a key.

Pure. Source: Kubernetes' contributors/devel/sig-api-machinery/strategic-merge-patch.md, and how apimachinery's
pkg/util/strategicpatch treats what that leaves open. What lists are merged by, `api.merging` says; of what type a field
is, `api.reference`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from k8snetlab.api.merging import ASSUMED, KEYS
from k8snetlab.api.words import describe, shorten
from k8snetlab.apiserver.shapes import Type, inner, is_atomic, is_set
from k8snetlab.errors import RequestError

Json = dict[str, Any]
DIRECTIVE, RETAIN = "$patch", "$retainKeys"
ORDER, DELETED = "$setElementOrder/", "$deleteFromPrimitiveList/"
Keys = Callable[[Type, str], tuple[str, ...]]
"""By which keys a field's list is merged, none where it is not."""


def _single(type_: Type, field: str) -> tuple[str, ...]:
    name = KEYS.get((type_, field)) if isinstance(type_, str) else None
    return (name,) if name else ()


def _text(value: Any) -> str:
    """By which a value is found among many."""
    return msgspec.json.encode(value, order="deterministic").decode()


def _key(item: Json, names: tuple[str, ...]) -> str:
    return _text([item.get(name, ASSUMED.get(name)) for name in names])


def strategic_merge(target: Json, patch: Json, type_: Type, keys: Keys = _single) -> Json:
    """`target` with the patch; `type_` is the reference's name of what it is, "" where that has none.

    Raises RequestError (400) for directives that are none, and for items without their key.
    """
    said = patch.get(DIRECTIVE)
    if said == "replace":
        return _plain(patch)
    if said == "delete":
        return {}
    if said not in (None, "merge"):
        raise _unknown(said)
    merged = _retained(target, patch)
    for field, values in _directives(patch, DELETED):
        _take_out(merged, field, values)
    for key, value in patch.items():
        if not key.startswith("$"):
            _set(merged, key, value, type_, keys)
        elif key not in (DIRECTIVE, RETAIN) and not key.startswith((ORDER, DELETED)):
            raise _unknown(key)
    for field, order in _directives(patch, ORDER):
        _arrange(merged, field, order, type_)
    return merged


def _retained(target: Json, patch: Json) -> Json:
    if patch.get(RETAIN) is None:
        return dict(target)
    kept = _list(patch[RETAIN], RETAIN)
    return {key: value for key, value in target.items() if key in kept}


def _directives(patch: Json, prefix: str) -> list[tuple[str, list[Any]]]:
    """The lists that begin so, by the field that each is for."""
    return [(key.removeprefix(prefix), _list(value, key)) for key, value in patch.items() if key.startswith(prefix)]


def _set(merged: Json, key: str, value: Any, type_: Type, keys: Keys) -> None:
    if value is None:
        merged.pop(key, None)
    elif isinstance(value, dict) and not is_atomic(inner(type_, key)):
        old = merged.get(key)
        merged[key] = strategic_merge(old if isinstance(old, dict) else {}, value, inner(type_, key), keys)
    elif isinstance(value, list):
        old = merged.get(key)
        merged[key] = _merged_list(old if isinstance(old, list) else [], value, type_, key, keys)
    else:
        merged[key] = value


def _merged_list(old: list[Any], patch: list[Any], type_: Type, field: str, keys: Keys) -> list[Any]:
    if is_set(type_, field):
        held = {_text(one) for one in old}
        return [*old, *(one for text, one in {_text(one): one for one in patch}.items() if text not in held)]
    names = keys(type_, field)
    if not names:
        return [without_directives(one) for one in patch]
    rest = [one for one in patch if not (isinstance(one, dict) and one == {DIRECTIVE: "replace"})]
    items = _Items([] if len(rest) < len(patch) else old, names)
    type_of_items = inner(type_, field)
    for one in rest:
        items.merge(one, type_of_items, keys)
    return [one for one in items.held if one is not _GONE]


_GONE = object()


class _Items:
    """Those of a list that is merged by the fields `names`."""

    def __init__(self, items: list[Any], names: tuple[str, ...]) -> None:
        self.held: list[Any] = list(items)
        self._names = names
        self._places: dict[str, list[int]] = {}
        for place, one in enumerate(items):
            if isinstance(one, dict):
                self._places.setdefault(_key(one, names), []).append(place)

    def merge(self, one: Any, type_: Type, keys: Keys) -> None:
        name = self._names[0]
        if not isinstance(one, dict):
            raise RequestError(f"the list is merged by {name}, and {describe(one)} has none")
        if one.get(name) is None:
            raise RequestError(f"map: {shorten(str(one))} does not contain declared merge key: {name}")
        key = _key(one, self._names)
        places, said = self._places.get(key, []), one.get(DIRECTIVE)
        if said == "delete":
            for place in self._places.pop(key, []):
                self.held[place] = _GONE
        elif places:
            old = {} if said == "replace" else self.held[places[0]]
            self.held[places[0]] = strategic_merge(old, one, type_, keys)
        else:
            self._places[key] = [len(self.held)]
            self.held.append(strategic_merge({}, one, type_, keys))


def _take_out(merged: Json, field: str, values: list[Any]) -> None:
    old = merged.get(field)
    if isinstance(old, list):
        gone = {_text(one) for one in values}
        merged[field] = [one for one in old if _text(one) not in gone]


def _arrange(merged: Json, field: str, order: list[Any], type_: Type) -> None:
    """Puts the items in the order that the patch tells; one that it does not tell of stays behind the one before it."""
    held = merged.get(field)
    if not isinstance(held, list):
        return
    name = KEYS.get((type_, field)) if isinstance(type_, str) else None

    def key(one: Any) -> str:
        return _text(one.get(name) if name is not None and isinstance(one, dict) else one)

    ranks: dict[str, int] = {}
    for one in order:
        ranks.setdefault(key(one), len(ranks))
    runs: list[tuple[int, list[Any]]] = [(-1, [])]
    """Items with those that follow them, by rank."""
    for one in held:
        if (rank := ranks.get(key(one))) is not None:
            runs.append((rank, [one]))
        else:
            runs[-1][1].append(one)
    merged[field] = [one for _, run in sorted(runs, key=lambda run: run[0]) for one in run]


def without_directives(value: Any) -> Any:
    """A value that nothing is merged with: without what only a patch says."""
    if isinstance(value, list):
        return [without_directives(one) for one in value]
    return _plain(value) if isinstance(value, dict) else value


def _plain(value: Json) -> Json:
    return {key: without_directives(one) for key, one in value.items() if not key.startswith("$") and one is not None}


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise RequestError(f"{shorten(name)}: expected a list, got {describe(value)}")
    return value


def _unknown(said: object) -> RequestError:
    return RequestError(f"unknown patch directive: {shorten(str(said))}", "there are replace, delete and merge")
