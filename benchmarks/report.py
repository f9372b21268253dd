"""How a benchmark says what it found."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Sequence


def large() -> bool:
    """Whether to run what takes minutes too: `--large`, or BENCH_LARGE=1 in the environment."""
    return "--large" in sys.argv[1:] or os.environ.get("BENCH_LARGE", "") not in ("", "0")


def line(what: str, seconds: Sequence[float], goal: float | None = None, floor: Sequence[float] = ()) -> str:
    """One row: the median of several runs, the slowest, the goal, and the ratio to the floor's median."""
    median = statistics.median(seconds)
    text = f"{what:<58} {median * 1000:9.1f} ms  (worst {max(seconds) * 1000:.1f}, n={len(seconds)})"
    if goal is not None:
        text += f"  goal {goal * 1000:.0f} ms {'met' if median <= goal else 'MISSED'}"
    if floor:
        text += f"  floor {statistics.median(floor) * 1000:.1f} ms, x{median / statistics.median(floor):.2g}"
    return text


def ratio(what: str, seconds: Sequence[float], most: float, floor: Sequence[float]) -> str:
    """One row whose goal is a multiple of its floor: the median of the ratios of neighbouring runs."""
    found = statistics.median(one / other for one, other in zip(seconds, floor, strict=True))
    return f"{line(what, seconds, None, floor)}  goal x{most:g} {'met' if found <= most else 'MISSED'} (x{found:.2f})"


def memory(what: str, megabytes: float, goal: float | None = None) -> str:
    text = f"{what:<58} {megabytes:9.0f} MB"
    return text if goal is None else f"{text}  goal {goal:.0f} MB {'met' if megabytes <= goal else 'MISSED'}"
