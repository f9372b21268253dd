"""Work that is done by whoever leads, and for no longer than it leads."""

from __future__ import annotations

import abc
import asyncio
import contextlib
from collections.abc import Awaitable, Callable

LOOK = 0.2
"""Seconds between two checks whether a leader's time has run out."""


class Leadership(abc.ABC):
    """What one of several processes has at a time."""

    def __init__(self) -> None:
        self._turn = asyncio.Event()
        self._known = False

    @property
    @abc.abstractmethod
    def leader(self) -> bool:
        """Whether this process leads: never for longer than it may."""

    def turned(self) -> bool:
        """Whether that is otherwise than when this was asked last; then those who wait are woken."""
        if self.leader == self._known:
            return False
        self._known = self.leader
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()
        return True

    async def until(self, leader: bool) -> None:
        """Waits until this process leads (`leader`), or does not."""
        while self.leader != leader:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK if self.leader else None):
                    await self._turn.wait()

    async def during(self, work: Callable[[], Awaitable[None]]) -> None:
        """Runs `work` for as long as this process leads, and again whenever it does; returns when `work` does, and
        raises what that raises."""
        while True:
            await self.until(True)
            running = asyncio.ensure_future(work())
            led = asyncio.ensure_future(self.until(False))
            try:
                await asyncio.wait({running, led}, return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    running.result()
                    return
            finally:
                for task in (running, led):
                    task.cancel()
                await asyncio.gather(running, led, return_exceptions=True)
