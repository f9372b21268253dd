"""The Corefile that a server goes by, and what it makes of questions."""

from __future__ import annotations

import logging
from collections.abc import Callable

from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dns import chain
from k8snetlab.dns.answers import Answer, Question
from k8snetlab.dns.caching import within
from k8snetlab.dns.chain import Onward
from k8snetlab.dns.corefile import Block, block_of, parse
from k8snetlab.dns.lines import CorefileError
from k8snetlab.nameserver.balancing import balanced
from k8snetlab.nameserver.counters import OUTSIDE


class Configured:
    """`world` gives the objects as they are now, None before they are known; `local` are the server's addresses,
    `listens` those that it listens at, none for all; `log` is told what CoreDNS would print."""

    def __init__(
        self,
        world: Callable[[], Snapshot | None],
        local: tuple[str, ...],
        log: logging.Logger,
        listens: tuple[str, ...] = (),
    ) -> None:
        self._world, self._local, self._log, self._listens = world, local, log, listens
        self._text: str | None = None
        self.blocks: tuple[Block, ...] = ()

    @property
    def ready(self) -> bool:
        return bool(self.blocks) and self._world() is not None

    @property
    def verifies_pods(self) -> bool:
        return any(block.cluster is not None and block.cluster.pods == "verified" for block in self.blocks)

    def take(self, text: str) -> bool:
        """Goes by a Corefile ("" for none), if it is another one and right; with a wrong one it goes on as before.
        Whether it goes by another one now."""
        if text == self._text:
            return False
        self._text = text
        if not text:
            self._log.error("there is no Corefile")
            return False
        try:
            blocks = parse(text)
            self._refuse_other_ends(blocks)
        except CorefileError as error:
            self._log.error("%s; %s", error, "the one before is kept" if self.blocks else "nothing is answered")
            return False
        self.blocks = blocks
        self._log.info("goes by a Corefile for %s", ", ".join(zone for block in self.blocks for zone in block.zones))
        return True

    def _refuse_other_ends(self, blocks: tuple[Block, ...]) -> None:
        bind = {address for block in blocks for address in block.bind}
        if bind and bind != {*self._listens}:
            where = " ".join(self._listens) or "all addresses"
            raise CorefileError(1, f"bind: {' '.join(sorted(bind))} is not served here, this server listens at {where}")

    @property
    def plugins(self) -> tuple[tuple[str, str], ...]:
        """Zones and the names of plugins for them."""
        return tuple((zone, name) for block in self.blocks for zone in block.zones for name in block.plugins)

    def zone(self, question: Question) -> str:
        """Under which zone a question is counted."""
        zones = [zone for block in self.blocks for zone in block.zones if within(question.lower, zone)]
        return max(zones, key=len, default=OUTSIDE)

    def decide(self, question: Question) -> Answer | Onward:
        if not self.blocks:
            return Answer("SERVFAIL")
        found = chain.answer(self.blocks, question, self._world(), self._local)
        if isinstance(found, Answer) and len(found.records) > 1:
            block = block_of(self.blocks, question.lower)
            return balanced(found, block) if block else found
        return found
