"""Looks at what no event tells of: those that are asked for at about the same time are one thread's work.

To have a thread do something takes longer than most looks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

Look = Callable[[], bool]
LONG = 0.05


class Looks:
    """One for the agents of a machine."""

    def __init__(self) -> None:
        self._asked: list[tuple[Look, asyncio.Future[bool]]] = []
        self._work: asyncio.Task[None] | None = None

    def ask(self, look: Look) -> asyncio.Future[bool]:
        """What `look` finds, once its turn has come; to be asked for in the loop's thread, and not to be cancelled."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asked.append((look, answer))
        if self._work is None:
            self._work = asyncio.create_task(self._go(), name="looks")
        return answer

    async def _go(self) -> None:
        try:
            while self._asked:
                await asyncio.sleep(0)  # others ask in the same turn of the loop
                found = await asyncio.to_thread(_found, [look for look, _ in self._asked])
                asked, self._asked = self._asked[: len(found)], self._asked[len(found) :]
                for (_, answer), outcome in zip(asked, found, strict=True):
                    if isinstance(outcome, BaseException):
                        answer.set_exception(outcome)
                    else:
                        answer.set_result(outcome)
        finally:
            self._work = None


def _found(looks: Sequence[Look]) -> list[bool | BaseException]:
    """What the first ones find, until LONG seconds are over: who has asked does nothing else before it is answered."""
    began, found = time.monotonic(), list[bool | BaseException]()
    for look in looks:
        try:
            found.append(look())
        except BaseException as error:
            found.append(error)
        if time.monotonic() - began > LONG:
            break
    return found
