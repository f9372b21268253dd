"""`policy matrix` as a table with a legend, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8snetlab.cli import screen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8snetlab.policies.matrix import Check, PolicyMatrix

NARROW = 24
"""Columns of a name that many may have in front of their row."""
WIDTH = 80
"""Of a table that no terminal shows."""


def show(found: PolicyMatrix) -> None:
    """A table for each port, and below it which policies deny and allow what."""
    for at in dict.fromkeys((check.protocol, check.port) for check in found.checks):
        _show(at, [check for check in found.checks if (check.protocol, check.port) == at])
    denied = sum(not check.allowed for check in found.checks)
    screen.say(f"{len(found.checks) - denied} allowed, {denied} denied: i by the target's ingress, e by the source's")
    screen.say("egress, x by both; `k8snetlab policy why FROM TO:PORT` names the lines")


def as_json(found: PolicyMatrix) -> str:
    """With a line for each pair: there may be very many."""
    import msgspec

    lines = msgspec.json.Encoder().encode_lines(found.checks).decode().rstrip("\n").replace("\n", ",\n")
    idle = f',\n"withoutEffect": {msgspec.json.encode(found.withoutEffect).decode()}' if found.withoutEffect else ""
    return f'{{"checks": [\n{lines}\n]{idle}}}'


def _show(at: tuple[str, int], checks: Sequence[Check]) -> None:
    """A row for each source, a numbered column for each target, in blocks as wide as the terminal (or 80 columns), then
    which policies say so. Long names of many are told once, and rows have their numbers only."""
    from k8snetlab.policies.legend import legend

    names = list(dict.fromkeys(check.from_ for check in checks))
    size, wide, across = len(names), max(len(name) for name in names), screen.columns() or WIDTH
    cell, digits = len(str(size)) + 1, max(3, len(str(size)))
    screen.say(f"{at[1]}/{at[0]}, row to column:")
    if wide > NARROW and wide + digits + 1 + size * cell > across:
        for number, name in enumerate(names, 1):
            screen.say(f"{number:>{digits}} {name}")
        screen.say("")
        names, wide = [""] * size, 0
    room = max(1, (across - wide - digits - 1) // cell)
    for start in range(0, size, room):
        block = range(start, min(start + room, size))
        screen.say(" " * (wide + digits + 1) + "".join(str(number + 1).rjust(cell) for number in block))
        for row, name in enumerate(names):
            marks = (_mark(checks[row * size + column]).rjust(cell) for column in block)
            screen.say(f"{row + 1:>{digits}} {name:<{wide}}" + "".join(marks))
    for line in legend(checks, size):
        for part in screen.fold(line, across, hang=2):
            screen.say(part)
    screen.say("")


def _mark(check: Check) -> str:
    if check.allowed:
        return "."
    return "x" if not check.ingress and not check.egress else "e" if check.ingress else "i"
