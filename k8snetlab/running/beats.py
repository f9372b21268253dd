"""Looks again and again, all of them at the same moments: a machine at rest is woken once for all of them."""

from __future__ import annotations

import asyncio

_SOON = 0.01
"""Of a beat: what woke a little early does not wake twice."""


def until(seconds: float) -> float:
    """Until the running loop's next beat of so many seconds."""
    left = seconds - asyncio.get_running_loop().time() % seconds
    return left if left > _SOON * seconds else left + seconds
