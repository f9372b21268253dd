"""How a benchmark says what it found."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def line(what: str, seconds: Sequence[float], goal: float | None = None, floor: Sequence[float] = ()) -> str:
    """One row: the median of several runs, the slowest, the goal, and the ratio to the floor's median."""
    median = statistics.median(seconds)
    text = f"{what:<58} {median * 1000:9.1f} ms  (worst {max(seconds) * 1000:.1f}, n={len(seconds)})"
    if goal is not None:
        text += f"  goal {goal * 1000:.0f} ms {'met' if median <= goal else 'MISSED'}"
    if floor:
        text += f"  floor {statistics.median(floor) * 1000:.1f} ms, x{median / statistics.median(floor):.1f}"
    return text
