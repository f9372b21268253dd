"""What a benchmark finds: rows, each beside what it is measured by, and what they come to."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

Unit = Literal["s", "MB", "% of a core", "Mbit/s"]
Beside = Literal["floor", "peer", ""]
"""What a figure is measured by: the least that it can cost, another program of its kind, or nothing but itself."""


class Goal(msgspec.Struct, frozen=True):
    """What is asked for: so many times the floor or the peer, or a figure in the row's own unit."""

    limit: float
    beside: Beside = "floor"


class Row(msgspec.Struct, frozen=True):
    """One thing measured, some times over. Floor and peer that have as many values stand beside it run by run."""

    what: str
    ours: tuple[float, ...]
    floor: tuple[float, ...] = ()
    peer: tuple[float, ...] = ()
    unit: Unit = "s"
    goals: tuple[Goal, ...] = ()
    more: bool = False
    """Whether more of it is better: then a goal is the least, not the most."""
    apart: bool = False
    """Whether ours and floor's runs are no neighbours, though as many: their medians are compared."""
    note: str = ""
    """What floor and peer are, or what is lacking; said below the table."""


class Line(msgspec.Struct, frozen=True):
    """A line of the table: a row beside one of the things that it is measured by."""

    row: Row
    beside: Beside
    value: float
    """The ratio; the figure itself where it is beside nothing."""
    goal: float | None = None
    recorded: float | None = None
    first: bool = True
    """Whether it is the row's first line, which shows the figures."""

    @property
    def met(self) -> bool | None:
        """None where nothing is asked for."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.row.more else self.value <= self.goal

    @property
    def change(self) -> float | None:
        """Against what was recorded: 0.1 is a tenth more."""
        return self.value / self.recorded - 1 if self.recorded else None

    @property
    def worse(self) -> bool:
        """Whether it is more than a tenth worse than what was recorded."""
        change = self.change
        return change is not None and (change < -0.1 if self.row.more else change > 0.1)


def key(benchmark: str, line: Line) -> str:
    """What a line is recorded as."""
    return f"{benchmark}: {line.row.what}" + (f", beside its {line.beside}" if line.beside else "")


def lines(benchmark: str, row: Row, recorded: Mapping[str, float]) -> list[Line]:
    """A line for each goal; for a row without any, one beside the first thing that it has beside it."""
    asked = [(goal.beside, goal.limit) for goal in row.goals if values(row, goal.beside)]
    chosen: list[tuple[Beside, float | None]] = [*asked] or [(_beside(row), None)]
    found = []
    for number, (beside, goal) in enumerate(chosen):
        line = Line(row, beside, value(row, beside), goal, first=not number)
        found.append(msgspec.structs.replace(line, recorded=recorded.get(key(benchmark, line))))
    return found


def values(row: Row, beside: Beside) -> Sequence[float]:
    """What a row is measured by; its own values for ""."""
    return {"floor": row.floor, "peer": row.peer, "": row.ours}[beside]


def value(row: Row, beside: Beside) -> float:
    """How a row stands beside something, or by itself."""
    return ratio(row.ours, values(row, beside), row.apart) if beside else statistics.median(row.ours)


def ratio(ours: Sequence[float], others: Sequence[float], apart: bool = False) -> float:
    """The median of the ratios of neighbouring runs: a machine's speed changes from minute to minute, and with it both.

    Runs that are not neighbours (as many of one as of the other, and not `apart`) are compared by their medians.
    """
    if len(ours) == len(others) and not apart:
        return statistics.median(one / other for one, other in zip(ours, others, strict=True))
    return statistics.median(ours) / statistics.median(others)


def _beside(row: Row) -> Beside:
    return "floor" if row.floor else "peer" if row.peer else ""
