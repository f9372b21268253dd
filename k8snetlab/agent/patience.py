"""How long a manager waits for what another program is to make, before it calls it a failure."""

from __future__ import annotations

import math
import time


class Patience:
    """`told` once its end has been told: nobody waits any more then."""

    def __init__(self) -> None:
        self.told = False
        self._since, self._seconds = math.inf, 0.0

    def begin(self, seconds: float) -> None:
        """Something is waited for from now on, if it was not already."""
        self._since, self._seconds = min(self._since, time.monotonic()), seconds

    def end(self) -> None:
        """Nothing is waited for, or something else is."""
        self.told, self._since = False, math.inf

    @property
    def is_over(self) -> bool:
        return time.monotonic() - self._since > self._seconds

    @property
    def has_just_ended(self) -> bool:
        """It is over, and that is still to be told."""
        return self.is_over and not self.told


def and_more(missing: int) -> str:
    """Behind the first of so many."""
    return f" and {missing - 1} more" if missing > 1 else ""
