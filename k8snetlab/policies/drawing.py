"""A matrix as an SVG: a row for each source, a column for each target, a square for each pair; hovering names it, and
the policies that decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from k8snetlab.policies.legend import decided
from k8snetlab.policies.matrix import At, Check

CELL, LINE, LETTER = 14, 24, 7
"""Pixels: a square, a caption's height, a letter's width at 12 px."""
COLOURS = {"allowed": "#2e9e5b", "ingress": "#d1495b", "egress": "#e08e2b", "both": "#7d2e5b"}
"""Of a pair: allowed, or denied by the target's ingress, the source's egress, or both."""

LETTERS = {"allowed": "", "ingress": "i", "egress": "e", "both": "x"}
"""The same for who does not see colours, as in the table."""
MOST_LETTERS = 100
"""Ends of a matrix whose squares have letters."""


def svg(checks: Sequence[Check]) -> str:
    """One square field for each port of a matrix, one below the other."""
    by_port: dict[At, list[Check]] = {}
    for check in checks:
        by_port.setdefault((check.protocol, check.port), []).append(check)
    names = list(dict.fromkeys(check.from_ for check in checks))
    margin = LETTER * max(map(len, names), default=0) + 12
    side = CELL * len(names)
    width, height = margin + max(side, 500) + 12, LINE + len(by_port) * (margin + side + 2 * LINE) + 12
    body = [line for n, (at, some) in enumerate(by_port.items()) for line in _field(names, at, some, (margin, n))]
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
            ' font-family="DejaVu Sans, sans-serif" font-size="12">',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            *_legend(),
            *body,
            "</svg>\n",
        )
    )


def _legend() -> Iterator[str]:
    left = 12
    for what, colour in COLOURS.items():
        text = what if what == "allowed" else f"denied by {what} ({LETTERS[what]})"
        yield f'<rect x="{left}" y="8" width="10" height="10" fill="{colour}"/>'
        yield f'<text x="{left + 14}" y="17">{text}</text>'
        left += LETTER * len(text) + 32


def _field(names: list[str], at: At, checks: list[Check], place: tuple[int, int]) -> Iterator[str]:
    margin, number = place
    top = LINE + number * (margin + CELL * len(names) + 2 * LINE) + LINE
    yield f'<text x="12" y="{top}" font-weight="bold">{at[1]}/{at[0]}: row to column</text>'
    first = top + margin
    for place_, name in enumerate(names):
        middle = place_ * CELL + CELL - 3
        yield f'<text x="{margin - 6}" y="{first + middle}" text-anchor="end">{escape(name)}</text>'
        yield f'<text transform="translate({margin + middle} {first - 6}) rotate(-90)">{escape(name)}</text>'
    for count, check in enumerate(checks):
        row, column = divmod(count, len(names))
        said = _said(check)
        word = (said if check.allowed else f"denied by {said}") + escape(decided(check))
        yield (
            f'<rect x="{margin + column * CELL}" y="{first + row * CELL}" width="{CELL - 2}" height="{CELL - 2}"'
            f' fill="{COLOURS[said]}"><title>{escape(check.from_)} to {escape(check.to)}: {word}</title></rect>'
        )
        if LETTERS[said] and len(names) <= MOST_LETTERS:
            at_ = f'x="{margin + column * CELL + CELL // 2 - 1}" y="{first + row * CELL + CELL - 5}"'
            yield f'<text {at_} fill="#ffffff" font-size="9" text-anchor="middle">{LETTERS[said]}</text>'


def _said(check: Check) -> str:
    if check.allowed:
        return "allowed"
    return "both" if not check.ingress and not check.egress else "egress" if check.ingress else "ingress"
