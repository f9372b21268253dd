"""An event loop that measures for how long it could not answer.

Between two looks for what has come, a loop works off what was there: nothing is answered meanwhile. That is measured in
processor time of the loop's own thread, so that a busy machine is not taken for a daemon that is too slow.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable
from typing import Any


class Turns(selectors.DefaultSelector):
    """`longest` is the longest turn, in seconds of processor time, since this began or `take` was called."""

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        super().__init__()
        self._clock = clock
        self._began: float | None = None
        self.longest = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self._began is not None:
            self.longest = max(self.longest, self._clock() - self._began)
        ready = super().select(timeout)
        self._began = self._clock()
        return ready


def loop() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(Turns())


def longest_turn(loop: Any = None) -> float:
    """Of the running loop, 0 where that does not measure."""
    turns = getattr(loop or asyncio.get_running_loop(), "_selector", None)
    return turns.longest if isinstance(turns, Turns) else 0.0
