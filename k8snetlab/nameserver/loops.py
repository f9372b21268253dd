"""Whether questions come round: what this server asks elsewhere reaches it again.

Source: CoreDNS' plugin loop. It asks for HINFO of a name that nobody else can know; who is asked for it is in a loop,
and ends. CoreDNS asks once, at its start; a pod that is not ready yet is led to by nobody, so this asks again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence

from k8snetlab.dns.answers import Answer, Question
from k8snetlab.dns.chain import Onward
from k8snetlab.dns.corefile import Block, Forward

TYPE = "HINFO"
PAUSES = (1.0, 2.0, 6.0, 20.0)
"""Seconds before each time that it asks: rules may take a while to lead to this server."""


class Loops:
    """`ask` asks a question of other servers; `found` is told of a loop, in CoreDNS' words."""

    def __init__(self, ask: Callable[[Onward], Awaitable[Answer]], found: Callable[[str], None]) -> None:
        self._ask, self._found = ask, found
        self._names: dict[str, tuple[str, Forward]] = {}
        """What was asked for: of which zone, and of whom."""
        self._asking: asyncio.Task[None] | None = None

    def look(self, blocks: Sequence[Block]) -> None:
        """Asks by each `forward` of the blocks that have `loop`, from now on and some times more."""
        self.close()
        forwards = [
            (block.zones[0] if forward.zone == "." else forward.zone, forward, block)
            for block in blocks
            if block.loop
            for forward in block.forwards
        ]
        if forwards:
            self._asking = asyncio.create_task(self._asked(forwards))

    def seen(self, question: Question) -> None:
        """Takes in a question that somebody asks of this server."""
        own = self._names.get(question.lower) if question.type == TYPE else None
        if own is None:
            return
        self.close()
        zone, forward = own
        to = ", ".join(address for address, _ in forward.to) or "/etc/resolv.conf"
        self._found(
            f'plugin/loop: Loop (:53 -> {to}) detected for zone "{zone}", see'
            f' https://coredns.io/plugins/loop#troubleshooting. Query: "{TYPE} {question.name}"'
        )

    def close(self) -> None:
        self._names.clear()
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    async def _asked(self, forwards: Sequence[tuple[str, Forward, Block]]) -> None:
        for pause in PAUSES:
            await asyncio.sleep(pause)
            await asyncio.gather(*(self._ask(self._question(*forward)) for forward in forwards))

    def _question(self, zone: str, forward: Forward, block: Block) -> Onward:
        name = f"{secrets.randbits(63)}.{secrets.randbits(63)}.{zone.lstrip('.')}"
        self._names[name] = zone, forward
        return Onward(Question(name, TYPE), forward, block, block)
