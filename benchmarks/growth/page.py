"""The measured part of docs/speed.md: pictures, tables, and the sentences that say where a curve bends."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence

from benchmarks.growth.measured import BEND, Growth, Point, Series, StoreCost, bend, faster, power_of
from benchmarks.growth.plot import Curve, Panel, picture
from benchmarks.report import figure

BEGIN, END = "<!-- measured: `make bench-growth` writes this -->", "<!-- measured: end -->"
ORDER = {
    "pods": ("k8snetlab", "C", "Mininet"),
    "nodes": ("k8snetlab", "ip, bridge"),
    "Services": ("k8snetlab", "restores"),
}
LIMITS = {
    "programs": "programs' work is what grows: the limit is code, the daemon's first of all",
    "kernel": "the kernel's work is what grows: the limit is the kernel",
    "waiting": "neither programs nor the kernel work more for each: the limit is what they wait for",
}
LARGE = (100, 1000, 5000)
"""Nodes that the store's cost is worked out for."""


def with_measured(page: str, growth: Growth) -> str:
    """The page with its measured part written anew. Raises ValueError where it has no place for it."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{measured(growth)}\n{END}{after}"


def measured(growth: Growth) -> str:
    parts = [_wrapped(f"Measured on {growth.date}: {growth.machine}.")]
    for what in ORDER:
        curves = [series for series in growth.series if series.what == what]
        if curves:
            parts += [f"### {what[0].upper()}{what[1:]}", f"![time and memory against {what}]({file_of(what)})"]
            parts += [_table(what, curves), *(_wrapped(said) for said in _sentences(what, curves))]
    parts += ["### The store", *_store(growth)]
    return "\n\n".join(parts) + "\n"


def file_of(what: str) -> str:
    return f"speed-{what.lower()}.svg"


def pictures(growth: Growth) -> dict[str, str]:
    """SVG texts by file names."""
    found = {}
    for what, order in ORDER.items():
        curves = [series for series in growth.series if series.what == what]
        if not curves:
            continue

        def panel(title: str, unit: str, value: Callable[[Point], float], curves: Sequence[Series] = curves) -> Panel:
            drawn = [Curve(one.who, [(p.size, value(p)) for p in one.points if value(p) > 0]) for one in curves]
            return Panel(title, what, unit, drawn, order)  # noqa: B023

        up = panel("Time of up", "seconds", lambda point: point.up)
        if what == "pods":
            other = panel("Memory of the machine", "MB", lambda point: point.memory)
        else:
            other = panel("Memory of the daemon", "MB", lambda point: point.daemon)
        found[file_of(what)] = picture([up, other])
    return found


def _table(what: str, curves: Sequence[Series]) -> str:
    ours = next(series for series in curves if series.who == "k8snetlab")
    others = [series for series in curves if series is not ours]
    heads = [what, "up", "down", "memory", "daemon", *(f"{series.who}: up" for series in others)]
    if any(point.down for series in others for point in series.points):
        heads += [f"{series.who}: down" for series in others]
    lines = [f"| {' | '.join(heads)} |", "|" + "--:|" * len(heads)]
    for size in sorted({point.size for series in curves for point in series.points}):
        mine = _at(ours, size)
        cells = [f"{size:,}", *(_cells(mine) if mine else ("-",) * 4)]
        found = [_at(series, size) for series in others]
        cells += [figure(point.up, "s") if point else "-" for point in found]
        if len(heads) > len(cells):
            cells += [figure(point.down, "s") if point else "-" for point in found]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(point: Point) -> tuple[str, ...]:
    return (
        figure(point.up, "s"),
        figure(point.down, "s"),
        f"{point.memory:,.0f} MB" if point.memory > 0 else "-",
        f"{point.daemon:,.0f} MB",
    )


def _at(series: Series, size: int) -> Point | None:
    return next((point for point in series.points if point.size == size), None)


def _sentences(what: str, curves: Sequence[Series]) -> Iterable[str]:
    for series in curves:
        if series.points:
            yield said_of(what, series)
        if series.ended:
            yield f"{series.who} ends there: {series.ended}." if series.points else f"{series.who}: {series.ended}."


def said_of(what: str, series: Series) -> str:
    """Whether a curve bends, where, and what grows there."""
    found, last = bend(series.points), series.points[-1]
    if found is None:
        return _straight(what, series)
    begin, power = found
    said = f"**{series.who}** bends at {begin.size:,} {what}: from there on time grows with their power {power:.1f}"
    return f"{said}. {_parts(last)}; {LIMITS[faster(begin, last)]}." if last.programs else f"{said}."


def _straight(what: str, series: Series) -> str:
    last = series.points[-1]
    said = f"**{series.who}**: no bend up to {last.size:,} {what}"
    if len(series.points) > 1:
        steps = f"from {series.points[-2].size:,} to {last.size:,} with their power {power_of(*series.points[-2:]):.1f}"
        said = f"{said}: from no size on does time grow with their power {BEND} or more at each step, {steps}"
    return f"{said}. {_parts(last)}." if last.programs else f"{said}."


def _parts(point: Point) -> str:
    return f"At {point.size:,} {point.programs:.0f} s of the cores are programs', {point.kernel:.0f} s the kernel's"


def _store(growth: Growth) -> Iterable[str]:
    if growth.store is None:
        yield _wrapped(f"Not measured: {growth.store_trouble}.")
        return
    cost = growth.store
    yield _wrapped(
        f"Measured with {cost.machines} machines on one etcd, by a watch of all its keys. While nothing happens a "
        f"machine writes {cost.idle_writes:.2f} times a second, and renews leases {cost.renewals:.2f} times. One "
        f"more pod of a Deployment is {cost.pod_writes:.1f} writes of objects, {cost.pod_bytes:,.0f} bytes in all; to "
        f"ask each other machine whether it is at rest are {cost.talk_writes:.1f} more. One more machine is "
        f"{cost.join_writes:.0f} writes of objects, {cost.join_bytes:,.0f} bytes. Every machine watches all objects, "
        "so each such write is sent to each of them. On paper that makes:"
    )
    yield paper(cost)


def paper(cost: StoreCost) -> str:
    """A table of what the store has to do for so many machines."""
    heads = ("nodes", "idle: writes/s", "renewals/s", "a pod: events", "sent", "asking", "a node: events", "sent")
    lines = [f"| {' | '.join(heads)} |", "|" + "--:|" * len(heads)]
    for nodes in LARGE:
        cells = (
            f"{nodes:,}",
            f"{cost.idle_writes * nodes:,.1f}",
            f"{cost.renewals * nodes:,.0f}",
            f"{cost.pod_writes * nodes:,.0f}",
            f"{cost.pod_bytes * nodes / 1e6:,.2f} MB",
            f"{cost.talk_writes * (nodes - 1):,.0f} writes",
            f"{cost.join_writes * nodes:,.0f}",
            f"{cost.join_bytes * nodes / 1e6:,.2f} MB",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, 118, break_long_words=False, break_on_hyphens=False))
