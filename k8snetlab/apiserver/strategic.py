"""Strategic merge patch: a patch in the shape of the object, in which lists of objects are merged by a key.

Pure. Source: Kubernetes' contributors/devel/sig-api-machinery/strategic-merge-patch.md, and how apimachinery's
pkg/util/strategicpatch treats what that leaves open. What lists are merged by, `api.merging` says; of what type a field
is, `api.reference`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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


def _key(item: Json, names: tuple[str, ...]) -> list[Any]:
    return [item.get(name, ASSUMED.get(name)) for name in names]


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
        return [*old, *(one for number, one in enumerate(patch) if one not in old and one not in patch[:number])]
    names = keys(type_, field)
    if not names:
        return [without_directives(one) for one in patch]
    rest = [one for one in patch if not (isinstance(one, dict) and one == {DIRECTIVE: "replace"})]
    found = [] if len(rest) < len(patch) else list(old)
    type_of_items = inner(type_, field)
    for one in rest:
        _merge_item(found, one, names, type_of_items, keys)
    return found


def _merge_item(found: list[Any], one: Any, names: tuple[str, ...], type_: Type, keys: Keys) -> None:
    name = names[0]
    if not isinstance(one, dict):
        raise RequestError(f"the list is merged by {name}, and {describe(one)} has none")
    if one.get(name) is None:
        raise RequestError(f"map: {shorten(str(one))} does not contain declared merge key: {name}")
    places = [
        place for place, held in enumerate(found) if isinstance(held, dict) and _key(held, names) == _key(one, names)
    ]
    said = one.get(DIRECTIVE)
    if said == "delete":
        for place in reversed(places):
            del found[place]
    elif said == "replace" and places:
        found[places[0]] = strategic_merge({}, one, type_, keys)
    elif places:
        found[places[0]] = strategic_merge(found[places[0]], one, type_, keys)
    else:
        found.append(strategic_merge({}, one, type_, keys))


def _take_out(merged: Json, field: str, values: list[Any]) -> None:
    old = merged.get(field)
    if isinstance(old, list):
        merged[field] = [one for one in old if one not in values]


def _arrange(merged: Json, field: str, order: list[Any], type_: Type) -> None:
    """Puts the items in the order that the patch tells; one that it does not tell of stays behind the one before it."""
    held = merged.get(field)
    if not isinstance(held, list):
        return
    name = KEYS.get((type_, field)) if isinstance(type_, str) else None

    def key(one: Any) -> Any:
        return one.get(name) if name is not None and isinstance(one, dict) else one

    wanted = [key(one) for one in order]
    ranked = [one for one in held if key(one) in wanted]
    ranked.sort(key=lambda one: wanted.index(key(one)))
    result: list[Any] = list(ranked)
    before: Any = None
    for one in held:
        if key(one) not in wanted:
            place = next((number + 1 for number, other in enumerate(result) if other is before), 0)
            result.insert(place, one)
        before = one
    merged[field] = result


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
