"""How long the controllers rest between two looks, so that many changes in a row do not make each of them look anew."""

from __future__ import annotations

import time
from collections.abc import Callable

LONG, TIMES, LONGEST = 0.03, 3, 0.25
"""A look of LONG seconds is to be followed by a rest TIMES as long, of LONGEST seconds at most: when one of a Service's
thousand endpoints changes all of them are looked at."""
AT_ONCE = 0.5
"""Seconds of such rests that are left out, until as many have passed: what one change brings about, a pod that comes
and gets ready, is not held up."""


class Rests:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._owed, self._since = 0.0, clock()

    def after(self, took: float) -> float:
        """The seconds to rest after a look that took so long and has just ended."""
        now = self._clock()
        self._owed = max(0.0, self._owed - (now - took - self._since))
        self._since = now
        if took <= LONG:
            return 0.0
        self._owed += TIMES * took
        return min(TIMES * took, LONGEST, max(0.0, self._owed - AT_ONCE))
