"""Draws SVG: boxes, texts in them, lines below them. Sizes are in pixels.

The background is light as the boxes are, so that lines and arrows can be seen in a dark viewer too.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import msgspec

SIZE = 12
CHAR = SIZE * 0.61
"""The width of a character of a monospaced font, generously."""
LINE = 16
PAD = 9
DOT = 16

INK, SOFT, WIRE, TUNNEL, ALARM, GOOD = "#1f2937", "#4b5563", "#8391a5", "#d97706", "#b91c1c", "#15803d"
PAPER = "#ffffff"
HOP = 7
"""The radius of the arc by which an arrow passes over a lifeline that is none of its ends."""
FILLS = {"world": "#e5e7eb", "node": "#eef2ff", "chip": "#ffffff", "bridge": "#dbeafe", "tunnel": "#fef3c7"}
FILLS |= {"pod": "#ecfdf5", "service": "#f9fafb", "broken": "#fee2e2"}
DOTS = ("#2563eb", "#b45309", "#15803d", "#9333ea", "#be123c", "#0e7490", "#4d7c0f", "#a21caf")
FONT = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"

Point = tuple[float, float]


class Box(msgspec.Struct, frozen=True):
    """A rectangle; `x` and `y` are its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def right(self) -> float:
        return self.x + self.width


class Canvas:
    """The drawing so far."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._boxes: list[str] = []

    def text_of(self, title: str, width: float, height: float) -> str:
        """The file."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-size="{SIZE}" font-family="{FONT}">'
        )
        paper = f'<rect x="0" y="0" width="{width:.0f}" height="{height:.0f}" fill="{PAPER}"/>'
        return "\n".join([head, f"<title>{escape(title)}</title>", paper, *self._lines, *self._boxes, "</svg>"]) + "\n"

    def framed(
        self,
        kind: str,
        middle: float,
        y: float,
        lines: Sequence[tuple[str, bool]],
        *,
        stroke: str = WIRE,
        colour: str = "",
    ) -> Box:
        """A box around centred lines of (text, bold)."""
        width = max(text_width(text) for text, _ in lines)
        box = Box(middle - width / 2, y, width, 2 * PAD + LINE * len(lines) - 4)
        self.rect(box, kind, stroke=stroke)
        for number, (text, bold) in enumerate(lines):
            self.text(middle, y + PAD + 10 + LINE * number, text, bold=bold, anchor="middle", colour=colour)
        return box

    def rect(self, box: Box, kind: str, title: str = "", stroke: str = WIRE) -> None:
        inner = f"<title>{escape(title)}</title>" if title else ""
        self._boxes.append(
            f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="6" '
            f'fill="{FILLS[kind]}" stroke="{stroke}">{inner}</rect>'
        )

    def chip(self, kind: str, x: float, y: float, text: str, broken: bool = False) -> Box:
        box = Box(x, y, text_width(text), 24)
        self.rect(box, "broken" if broken else kind, stroke=ALARM if broken else WIRE)
        self.text(box.middle, y + 16, text, anchor="middle", colour=ALARM if broken else "")
        return box

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        bold: bool = False,
        soft: bool = False,
        anchor: str = "start",
        colour: str = "",
    ) -> None:
        weight = ' font-weight="bold"' if bold else ""
        fill = colour or (SOFT if soft else INK)
        self._boxes.append(
            f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'
        )

    def dot(self, x: float, y: float, service: int) -> None:
        colour = DOTS[service % len(DOTS)]
        self._boxes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{DOT / 2}" fill="{colour}"/>')
        self._boxes.append(
            f'<text x="{x:.1f}" y="{y + 3.5:.1f}" fill="#ffffff" font-size="10" font-weight="bold" '
            f'text-anchor="middle">{service + 1}</text>'
        )

    def wire(
        self,
        start: Point,
        end: Point,
        *,
        thick: bool = False,
        tunnel: bool = False,
        session: bool = False,
        broken: bool = False,
    ) -> None:
        """A line, drawn below all boxes."""
        colour = TUNNEL if tunnel else GOOD if session else ALARM if broken else WIRE
        self._lines.append(_line(start, end, colour, dashed=tunnel or session, thick=thick))

    def arrow(
        self, start: Point, end: Point, dashed: bool = False, colour: str = WIRE, over: Sequence[float] = ()
    ) -> None:
        """A level line below all boxes, with a head at its end; it passes in an arc over what stands at `over`."""
        step = HOP if end[0] > start[0] else -HOP
        arcs = "".join(
            f" H {x - step:.1f} A {HOP} {HOP} 0 0 {1 if step > 0 else 0} {x + step:.1f} {start[1]:.1f}"
            for x in sorted(over, reverse=step < 0)
        )
        dashes = ' stroke-dasharray="6 4"' if dashed else ""
        self._lines.append(
            f'<path d="M {start[0]:.1f} {start[1]:.1f}{arcs} H {end[0]:.1f}" fill="none" stroke="{colour}"{dashes} '
            f'stroke-width="2" stroke-linecap="round"/>'
        )
        back = end[0] - 9 if end[0] > start[0] else end[0] + 9
        head = f"{end[0]:.1f},{end[1]:.1f} {back:.1f},{end[1] - 4.5:.1f} {back:.1f},{end[1] + 4.5:.1f}"
        self._lines.append(f'<polygon points="{head}" fill="{colour}"/>')

    def over(self, start: Point, end: Point, tunnel: bool = False) -> None:
        """A line inside a box already drawn."""
        self._boxes.append(_line(start, end, TUNNEL if tunnel else WIRE, dashed=tunnel))


def _line(start: Point, end: Point, colour: str, *, dashed: bool, thick: bool = False) -> str:
    style = f'stroke="{colour}"' + (' stroke-dasharray="6 4"' if dashed else "")
    return (
        f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" '
        f'{style} stroke-width="{3 if thick else 2}" stroke-linecap="round"/>'
    )


def text_width(text: str) -> float:
    return len(text) * CHAR + 2 * PAD
