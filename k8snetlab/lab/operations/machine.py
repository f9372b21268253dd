"""This machine comes and goes: it joins, leaves, ends the lab for all machines, or its daemon stops."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from k8snetlab.lab.table import answers
from k8snetlab.machines.membership import Membership
from k8snetlab.messages.machines import END, JOINED, LEAVE, STOP, EndQuestion, Joined, Leaving, Stopping
from k8snetlab.messages.verb import Nothing


class ThisMachine:
    """`end` ends the daemon."""

    def __init__(self, membership: Membership, end: Callable[[], None]) -> None:
        self._membership, self._end = membership, end

    @answers(JOINED)
    async def joined(self, _: Nothing) -> Joined:
        return await self._membership.joined()

    @answers(LEAVE)
    async def leave(self, _: Nothing) -> Nothing:
        await self._membership.leave()
        return Nothing()

    @answers(END)
    async def end(self, asked: EndQuestion) -> AsyncIterator[Leaving]:
        async for event in self._membership.end(asked.patience):
            yield event

    @answers(STOP)
    async def stop(self, _: Nothing) -> Stopping:
        self._end()
        return Stopping()
