"""Networks side by side: as lines of a table, and as a picture with a column for each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from k8snetlab.cli import screen
from k8snetlab.render.canvas import ALARM, PAD, Canvas, text_width

if TYPE_CHECKING:
    from k8snetlab.workshop.comparing import Compared, Comparison

TITLES = ("NETWORK", "PACKET", "HOPS", "AROUND", "MTU", "RULES", "FIRST", "TCP", "UP")
LEGEND = (
    "FIRST: this first packet, from the sender's device to the receiver's.\n"
    "TCP: one connection on the same way. UP: until the lab was built."
)
GAP = 14.0
BROAD = 36
"""Characters of a line in the picture."""


def row(one: Compared) -> tuple[str, ...]:
    return (
        one.backend,
        one.fate or "-",
        str(len(one.way) or "-"),
        one.encapsulation.partition(" ")[0] if one.encapsulation.startswith("VXLAN") else one.encapsulation or "-",
        str(one.mtu or "-"),
        str(one.rules),
        _first(one),
        _rate(one),
        f"{one.seconds:.1f} s",
    )


def way(one: Compared, width: int | None) -> Iterator[str]:
    """What is around the packet, the devices that it passes, and the routes by which it does."""
    if one.problem:
        yield from screen.fold(f"{one.backend}: {one.problem}", width, 2)
        return
    around = f": in {one.encapsulation}, {one.outer}" if one.outer else ""
    yield from screen.fold(f"{one.backend}{around}", width, 2)
    stations = " → ".join(f"{place}:{','.join(names)}" for place, names, _ in _stations(one))
    yield from screen.fold(f"  {stations}", width, 4)
    for used in one.routes:
        made = f"  ({used.owner})" if used.owner else ""
        yield from screen.fold(f"  {used.place}: {used.entry}{made}", width, 6)


def _first(one: Compared) -> str:
    return f"{one.microseconds:.0f} µs" if one.microseconds is not None else "-"


def _rate(one: Compared) -> str:
    if one.megabits is None:
        return "-"
    return f"{one.megabits / 1000:.1f} Gb/s" if one.megabits >= 1000 else f"{one.megabits:.0f} Mb/s"


def _stations(one: Compared) -> Iterator[tuple[str, list[str], bool]]:
    """Each place on the way, its devices, and whether the packet comes out of it inside another one."""
    for place, names in itertools.groupby(one.way, lambda name: name.partition(":")[0]):
        passed = [*names]
        yield place, [name.partition(":")[2] for name in passed], passed[-1] in one.carried


def svg(found: Comparison) -> str:
    """A drawing that needs nothing but a browser."""
    return _Picture(found).drawn()


class _Picture:
    """A column for each network: its figures in a box, and below it the places on the way."""

    def __init__(self, found: Comparison) -> None:
        self._canvas, self._found = Canvas(), found
        self._figures = [[one.backend, *_figures(one)] for one in found.results]
        self._high = max(map(len, self._figures), default=0)

    def drawn(self) -> str:
        found = self._found
        title = f"{found.source} → {found.target}" if found.source else "no packet was sent"
        widths = [
            max(text_width(line) for line in (*figures, *(line for lines in _boxes(one) for line in lines))) + PAD
            for one, figures in zip(found.results, self._figures, strict=True)
        ]
        whole = max(sum(widths), text_width(title))
        top = self._canvas.framed("world", GAP + whole / 2, GAP, [(title, True)])
        x, bottom = GAP, 0.0
        for one, figures, width in zip(found.results, self._figures, widths, strict=True):
            bottom = max(bottom, self._column(one, figures, x + width / 2, top.bottom + GAP))
            x += width
        return self._canvas.text_of(title, whole + 2 * GAP, bottom + GAP)

    def _column(self, one: Compared, figures: list[str], x: float, y: float) -> float:
        """Draws a network; returns where it ends."""
        good = not one.problem and one.fate == "answered"
        lines = [*figures, *[""] * (self._high - len(figures))]
        kind, colour = ("world", "") if good else ("broken", ALARM)
        box = self._canvas.framed(kind, x, y, [(line, not n) for n, line in enumerate(lines)], colour=colour)
        bottom, tunnel, above = box.bottom, False, None
        for (place, *names), (_, _, inside) in zip(_boxes(one), _stations(one), strict=True):
            kind = "node" if len(names) > 1 else "pod"
            shown = [(place, True), *((name, False) for name in names)]
            box = self._canvas.framed(kind, x, bottom + 2 * GAP, shown)
            if above is not None:
                self._canvas.wire((x, above), (x, box.y), thick=tunnel, tunnel=tunnel)
            bottom, tunnel, above = box.bottom, inside, box.bottom
        return bottom


def _boxes(one: Compared) -> list[list[str]]:
    return [[place, *names] for place, names, _ in _stations(one)]


def _figures(one: Compared) -> Iterator[str]:
    if one.problem:
        yield from screen.fold(one.problem, BROAD, 0)
        return
    yield f"{one.fate}, {len(one.way)} devices, {one.rules} rules"
    yield f"in {one.encapsulation}" if one.outer else "in no other packet"
    yield one.outer or "-"
    yield f"MTU {one.mtu}, first {_first(one)}, TCP {_rate(one)}"
    yield from screen.fold(one.route, BROAD, 2)
    yield from screen.fold(f"by {one.owner}" if one.owner else "", BROAD, 2)
