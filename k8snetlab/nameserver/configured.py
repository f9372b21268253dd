"""The Corefile that a server goes by, and what it makes of questions."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

from k8snetlab.api.config import ConfigMap
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dns import addon, chain
from k8snetlab.dns.answers import Answer, Question, Record
from k8snetlab.dns.chain import Onward
from k8snetlab.dns.corefile import Block, CorefileError, block_of, parse


class Configured:
    """`world` gives the objects as they are now, None before they are known; `log` is told what CoreDNS would print."""

    def __init__(self, world: Callable[[], Snapshot | None], local: tuple[str, ...], log: logging.Logger) -> None:
        self._world, self._local, self._log = world, local, log
        self._text: str | None = None
        self.blocks: tuple[Block, ...] = ()

    @property
    def ready(self) -> bool:
        return bool(self.blocks) and self._world() is not None

    @property
    def verifies_pods(self) -> bool:
        return any(block.cluster is not None and block.cluster.pods == "verified" for block in self.blocks)

    def take(self, held: ConfigMap | None) -> bool:
        """Goes by the Corefile of the ConfigMap, if it is another one and right; with a wrong one it goes on as before.
        Whether it goes by another one now."""
        text = held.data.get(addon.COREFILE, "") if held else ""
        if text == self._text:
            return False
        self._text = text
        if not text:
            self._log.error("there is no Corefile: the ConfigMap %s/%s has none", addon.NAMESPACE, addon.NAME)
            return False
        try:
            self.blocks = parse(text)
        except CorefileError as error:
            self._log.error("%s; %s", error, "the one before is kept" if self.blocks else "nothing is answered")
            return False
        self._log.info("goes by a Corefile for %s", ", ".join(zone for block in self.blocks for zone in block.zones))
        return True

    def decide(self, question: Question) -> Answer | Onward:
        if not self.blocks:
            return Answer("SERVFAIL")
        found = chain.answer(self.blocks, question, self._world(), self._local)
        if isinstance(found, Answer) and len(found.records) > 1:
            block = block_of(self.blocks, question.lower)
            if block is not None and block.loadbalance:
                return shuffled(found)
        return found


def shuffled(answer: Answer) -> Answer:
    """With its addresses in another order, behind the CNAMEs that lead to them."""
    addresses = [record for record in answer.records if record.type in ("A", "AAAA")]
    others = [record for record in answer.records if record.type not in ("A", "AAAA")]
    random.shuffle(addresses)
    records: tuple[Record, ...] = (*others, *addresses)
    return Answer(answer.rcode, records, answer.authority, answer.additional, answer.authoritative)
