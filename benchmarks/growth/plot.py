"""Curves on logarithmic axes, as SVG: plain lines with their names at their ends, nothing to be loaded."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 420, 330
LEFT, RIGHT, TOP, BOTTOM = 56, 82, 34, 44
COLOURS = ("#0b6bcb", "#c2410c", "#15803d", "#7e22ce")
"""Of the first curve, the second …; each can be told from the others in print and by most eyes."""
NARROW = 0.6
"""Tenfolds that an axis has at least: less would make much of little."""
LABEL = 13
"""Height of a line of text."""


class Curve(NamedTuple):
    """A name, and points of positive numbers by x."""

    name: str
    points: Sequence[tuple[float, float]]


class Panel(NamedTuple):
    """One pair of axes."""

    title: str
    x: str
    y: str
    curves: Sequence[Curve]
    order: Sequence[str] = ()
    """The names that have the first colours, in every panel of a picture."""


def picture(panels: Sequence[Panel]) -> str:
    """The panels side by side. A curve without points is left out."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH * len(panels)} {HEIGHT}" '
        f'width="{WIDTH * len(panels)}" height="{HEIGHT}" font-family="sans-serif" font-size="11" fill="#333">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        parts.append(f'<g transform="translate({WIDTH * number} 0)">')
        parts += _panel(panel)
        parts.append("</g>")
    return "\n".join((*parts, "</svg>")) + "\n"


def _panel(panel: Panel) -> Iterable[str]:
    yield f'<text x="{LEFT}" y="18" font-size="13" font-weight="bold">{escape(panel.title)}</text>'
    curves = [curve for curve in panel.curves if curve.points]
    if not curves:
        yield f'<text x="{LEFT}" y="{HEIGHT / 2}">not measured</text>'
        return
    x = Axis([x for curve in curves for x, _ in curve.points], LEFT, WIDTH - RIGHT)
    y = Axis([y for curve in curves for _, y in curve.points], HEIGHT - BOTTOM, TOP)
    yield from _grid(panel, x, y)
    names = panel.order or [curve.name for curve in panel.curves]
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
    for curve in curves:
        yield from _curve(curve, x, y, colours[curve.name])
    ends = [y(curve.points[-1][1]) for curve in curves]
    for curve, at in zip(curves, apart(ends, TOP + 4, HEIGHT - BOTTOM), strict=True):
        beside = WIDTH - RIGHT + 8
        yield f'<text x="{beside}" y="{at + 4:.1f}" fill="{colours[curve.name]}">{escape(curve.name)}</text>'


def _grid(panel: Panel, x: Axis, y: Axis) -> Iterable[str]:
    floor = HEIGHT - BOTTOM
    for value in x.ticks:
        at = x(value)
        yield f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{floor}" stroke="#e5e5e5"/>'
        yield f'<text x="{at:.1f}" y="{floor + 16}" text-anchor="middle">{number(value)}</text>'
    for value in y.ticks:
        at = y(value)
        yield f'<line x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}" stroke="#e5e5e5"/>'
        yield f'<text x="{LEFT - 7}" y="{at + 4:.1f}" text-anchor="end">{number(value)}</text>'
    yield f'<path d="M{LEFT} {TOP} V{floor} H{WIDTH - RIGHT}" fill="none" stroke="#999"/>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(panel.x)}</text>'
    turned = f'transform="translate(13 {(TOP + floor) / 2}) rotate(-90)"'
    yield f'<text {turned} text-anchor="middle">{escape(panel.y)}</text>'


def _curve(curve: Curve, x: Axis, y: Axis, colour: str) -> Iterable[str]:
    places = [(x(one), y(other)) for one, other in curve.points]
    line = " ".join(f"{one:.1f},{other:.1f}" for one, other in places)
    yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"/>'
    for (one, other), (left, right) in zip(places, curve.points, strict=True):
        said = escape(f"{curve.name}: {number(right)} at {number(left)}")
        yield f'<circle cx="{one:.1f}" cy="{other:.1f}" r="3" fill="{colour}"><title>{said}</title></circle>'


class Axis:
    """Positive values as places between two pixels, a tenfold always as far."""

    def __init__(self, values: Sequence[float], begin: float, end: float) -> None:
        low, high = math.log10(min(values)), math.log10(max(values))
        room = max((high - low) * 0.04, (NARROW - high + low) / 2)
        self._low, self._high = low - room, high + room
        self._begin, self._end = begin, end

    def __call__(self, value: float) -> float:
        share = (math.log10(value) - self._low) / (self._high - self._low)
        return self._begin + share * (self._end - self._begin)

    @property
    def ticks(self) -> list[float]:
        """Round values on it: tenfolds, and where it has few of them others between."""
        for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
            decades = range(math.floor(self._low), math.ceil(self._high) + 1)
            found = [step * 10.0**decade for decade in decades for step in steps]
            found = [value for value in found if self._low <= math.log10(value) <= self._high]
            if len(found) >= 4:
                break
        return found


def apart(places: Sequence[float], low: float, high: float) -> list[float]:
    """The places of labels, moved so that none covers another."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    moved = list(places)
    for before, index in itertools.pairwise(order):
        moved[index] = max(moved[index], moved[before] + LABEL)
    over = max([0.0, *(moved[index] - high for index in order)])
    for index in reversed(order):
        moved[index] = max(moved[index] - over, low)
    return moved


def number(value: float) -> str:
    """1,000 · 20 · 0.3."""
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.2g}"
