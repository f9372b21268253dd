"""Answers about names outside, remembered for a while, and asked for anew before they are forgotten.

Source: RFC 2308 (what is not there is remembered too); CoreDNS' plugin cache (for how long, and what is prefetched).
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from k8snetlab.dns import caching
from k8snetlab.dns.answers import Answer, Question
from k8snetlab.dns.caching import Cache
from k8snetlab.nameserver.counters import CacheCounts

NAMES = 10_000
"""So many answers are remembered; CoreDNS has 9,984 of each kind."""


class Known:
    """An answer, when it was learned, for how many seconds it holds, and how often it was asked for of late."""

    __slots__ = ("answer", "asked", "hits", "kind", "learned", "seconds")

    def __init__(self, answer: Answer, learned: float, seconds: int) -> None:
        self.answer, self.learned, self.seconds = answer, learned, seconds
        self.kind = "success" if caching.kind(answer) == "success" else "denial"
        self.hits, self.asked = 0, learned


class Memory:
    """Of one upstream. `clock` is in seconds; in `counts` stands how much is remembered."""

    def __init__(
        self, cache: Cache, clock: Callable[[], float] = time.monotonic, counts: CacheCounts | None = None
    ) -> None:
        self._cache, self._clock, self._entries = cache, clock, (counts or CacheCounts()).entries
        self._known: OrderedDict[tuple[str, str], Known] = OrderedDict()

    def get(self, question: Question) -> tuple[Answer | None, bool]:
        """What is remembered, as old as it is, and whether it is to be asked for anew, before it is forgotten."""
        key, now = (question.lower, question.type), self._clock()
        known = self._known.get(key)
        if known is None or now >= known.learned + known.seconds:
            return None, False
        self._known.move_to_end(key)
        age = 0 if self._cache.keeps_ttl else int(now - known.learned)
        return caching.living(known.answer, known.seconds - age), self._is_due(known, now)

    def put(self, question: Question, answer: Answer) -> None:
        key, seconds = (question.lower, question.type), caching.lifetime(answer, self._cache)
        if seconds <= 0 or not caching.keeps(question, answer, self._cache):
            return  # what is remembered holds for its time, as in CoreDNS
        kept = msgspec.structs.replace(answer, authoritative=True, plugin="cache")  # as CoreDNS, for old clients' sake
        before, known = self._known.get(key), Known(kept, self._clock(), seconds)
        if before is not None:
            if answer.rcode == "SERVFAIL" and self._clock() < before.learned + before.seconds:
                return  # it was asked for before its time
            known.hits, known.asked = before.hits, before.asked
        self._forget(key)
        self._known[key] = known
        self._entries[known.kind] += 1
        while len(self._known) > NAMES:
            self._forget(next(iter(self._known)))

    def _forget(self, key: tuple[str, str]) -> None:
        if (known := self._known.pop(key, None)) is not None:
            self._entries[known.kind] -= 1

    def _is_due(self, known: Known, now: float) -> bool:
        cache = self._cache
        if not cache.prefetch:
            return False
        if now - known.asked > cache.gap:
            known.hits = 0
        known.hits, known.asked = known.hits + 1, now
        left = known.learned + known.seconds - now
        return known.hits >= cache.prefetch and left <= math.ceil(known.seconds * cache.percentage / 100)
