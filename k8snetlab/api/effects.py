"""Which of the fields that Kubernetes knows are acted on here: those that our types have and that are not only kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from msgspec import inspect

from k8snetlab.api import reference
from k8snetlab.api.meta import Object
from k8snetlab.api.shape import held

_HIDDEN = ("apiVersion", "kind", "metadata", "status")
_SKIPPED = ("ObjectMeta", "ObjectReference")


class Effects(NamedTuple):
    """Of a type of the reference: the fields that are acted on, and those that are named in a warning."""

    type_: str
    acted: tuple[str, ...]
    rest: tuple[str, ...]


def effects(kinds: Iterable[type[Object]]) -> Iterator[Effects]:
    """Of the kinds and of all types that they are made of, but for what a server writes; each once."""
    seen: set[str] = set()
    for kind in kinds:
        yield from _of(inspect.type_info(kind), kind.REFERENCE or kind.KIND, seen)


def _of(info: Any, type_: str, seen: set[str]) -> Iterator[Effects]:
    theirs = reference.fields(type_)
    if type_ in seen or not theirs or type_ in _SKIPPED or type_.endswith(("Status", "Condition")):
        return
    seen.add(type_)
    ours = {field.encode_name: field.type for field in info.fields}
    acted = [name for name in theirs if name in ours and name not in _HIDDEN and not held(type_, name)]
    rest = [name for name in theirs if name not in acted and name not in _HIDDEN]
    yield Effects(type_, tuple(acted), tuple(rest))
    for name in acted:
        inner = _struct(ours[name])
        if isinstance(inner, inspect.StructType):
            yield from _of(inner, theirs[name].strip("[]{}"), seen)


def _struct(info: Any) -> Any:
    """The struct inside lists, unions and annotations; what else is there where it is none."""
    while not isinstance(info, inspect.StructType):
        if isinstance(info, inspect.UnionType):
            info = next(one for one in info.types if not isinstance(one, inspect.NoneType))
        elif hasattr(info, "item_type"):
            info = info.item_type
        elif isinstance(info, inspect.Metadata):
            info = info.type
        else:
            return info
    return info
