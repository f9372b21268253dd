"""Objects as the tables kubectl prints: the same columns, the same words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from k8snetlab.api.custom import object_of
from k8snetlab.api.events import Event
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import Resource, without_nulls
from k8snetlab.cli import ages, screen
from k8snetlab.cli.columns import columns_of
from k8snetlab.cli.kinds import qualified


def objects(
    resource: Resource,
    items: Iterable[Mapping[str, Any]],
    *,
    wide: bool = False,
    with_namespace: bool = False,
    with_kind: bool = False,
) -> str:
    """The table of objects of one kind, as JSON-like builtins."""
    columns = columns_of(resource, wide)
    typed: list[Any] = [_typed(item, resource) for item in items]
    if resource.type is Event:
        typed.sort(key=lambda event: event.seen)
    now = ages.now()
    cells = [[column.of(obj, now) for column in columns] for obj in typed]
    rows = [["<none>" if cell is None else str(cell) for cell in row] for row in cells]
    titles = [column.title for column in columns]
    if with_kind and titles[0] == "NAME":
        rows = [[qualified(resource, row[0]), *row[1:]] for row in rows]
    if with_namespace and resource.type.namespaced:
        titles = ["NAMESPACE", *titles]
        rows = [[obj.namespace, *row] for obj, row in zip(typed, rows, strict=True)]
    return table(titles, rows)


def _typed(item: Mapping[str, Any], resource: Resource) -> Object:
    type_: Any = resource.type
    return object_of(type_, item) if resource.defined else msgspec.convert(without_nulls(item), type_)


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Left-aligned columns, three spaces apart; on a terminal they fit into its width."""
    return screen.table(titles, rows, screen.columns())
