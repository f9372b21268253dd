"""How long an answer is waited for before its absence is a fault: longer where processes queue for the cores."""

from __future__ import annotations

import os

MOST = 8.0
"""More than so many times longer nobody waits for a diagnosis."""


def patience(seconds: float, load: float | None = None, cores: int | None = None, slower: float = 1.0) -> float:
    """`seconds` on a machine with a core for everybody; more in proportion where `load` (of the last minute) is more
    than the `cores`, as what answers then runs that much later, or where things were seen to be so many times `slower`.
    """
    load = os.getloadavg()[0] if load is None else load
    return seconds * min(MOST, max(1.0, slower, load / (cores or os.cpu_count() or 1)))
