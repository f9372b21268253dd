"""Objects as the tables kubectl prints: the same columns, the same words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from k8snetlab.api.events import Event
from k8snetlab.api.scheme import Resource, without_nulls
from k8snetlab.cli import screen


def objects(
    resource: Resource,
    items: Iterable[Mapping[str, Any]],
    *,
    wide: bool = False,
    with_namespace: bool = False,
    with_kind: bool = False,
) -> str:
    """The table of objects of one kind, as JSON-like builtins."""
    from k8snetlab.cli.columns import columns_of

    columns = columns_of(resource.type, wide)
    typed: list[Any] = [msgspec.convert(without_nulls(item), resource.type) for item in items]
    if resource.type is Event:
        typed.sort(key=lambda event: event.seen)
    rows = [[column.cell(obj) for column in columns] for obj in typed]
    titles = [column.title for column in columns]
    if with_kind and titles[0] == "NAME":
        rows = [[qualified(resource, row[0]), *row[1:]] for row in rows]
    if with_namespace and resource.type.namespaced:
        titles = ["NAMESPACE", *titles]
        rows = [[obj.namespace, *row] for obj, row in zip(typed, rows, strict=True)]
    return table(titles, rows)


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Left-aligned columns, three spaces apart; on a terminal they fit into its width."""
    return screen.table(titles, rows, screen.columns())


def qualified(resource: Resource, name: str) -> str:
    """The way kubectl names an object: pod/client, deployment.apps/business-manager."""
    group, slash, _ = resource.type.API_VERSION.partition("/")
    return f"{resource.kind.lower()}{'.' + group if slash else ''}/{name}"


def age(since: str | float | None) -> str:
    """The time since an RFC 3339 timestamp or seconds of the epoch, as kubectl shortens it: 5s, 2m3s, 4h, 12d."""
    if not since:
        return "<unknown>"
    then = datetime.fromisoformat(since).timestamp() if isinstance(since, str) else since
    return duration(datetime.now(UTC).timestamp() - then)


def duration(seconds: float) -> str:
    """As apimachinery's HumanDuration: the larger the less exact; clocks that differ by a second are no error."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    whole = max(0, whole)
    minutes, hours = whole // 60, whole // 3600
    days, years = hours // 24, hours // (24 * 365)
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if years < 2:
        return f"{days}d"
    return _two(years, "y", days % 365, "d") if years < 8 else f"{years}y"


def _two(larger: int, unit: str, smaller: int, part: str) -> str:
    return f"{larger}{unit}{smaller}{part}" if smaller else f"{larger}{unit}"
