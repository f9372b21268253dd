"""Answers about names outside, remembered for a while, and asked for anew before they are forgotten.

Source: RFC 2308 (what is not there is remembered too); CoreDNS' plugin cache (for how long, and what is prefetched).
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from k8snetlab.dns.answers import Answer, Question, Record
from k8snetlab.dns.caching import Cache
from k8snetlab.dns.corefile import within

NAMES = 10_000
"""So many answers are remembered; CoreDNS has 9,984 of each kind."""


class Known:
    """An answer, when it was learned, for how many seconds it holds, and how often it was asked for of late."""

    __slots__ = ("answer", "asked", "hits", "learned", "seconds")

    def __init__(self, answer: Answer, learned: float, seconds: int) -> None:
        self.answer, self.learned, self.seconds = answer, learned, seconds
        self.hits, self.asked = 0, learned


class Memory:
    """Of one upstream. `clock` is in seconds."""

    def __init__(self, cache: Cache, clock: Callable[[], float] = time.monotonic) -> None:
        self._cache, self._clock = cache, clock
        self._known: OrderedDict[tuple[str, str], Known] = OrderedDict()

    def get(self, question: Question) -> tuple[Answer | None, bool]:
        """What is remembered, as old as it is, and whether it is to be asked for anew, before it is forgotten."""
        key, now = (question.lower, question.type), self._clock()
        known = self._known.get(key)
        if known is None or now >= known.learned + known.seconds:
            return None, False
        self._known.move_to_end(key)
        age = int(now - known.learned)
        answer = known.answer if self._cache.keeps_ttl else _aged(known.answer, age)
        return answer, self._is_due(known, now)

    def put(self, question: Question, answer: Answer) -> None:
        key, seconds = (question.lower, question.type), self._seconds(question, answer)
        if seconds <= 0:
            self._known.pop(key, None)
            return
        before, known = self._known.get(key), Known(answer, self._clock(), seconds)
        if before is not None:
            if answer.rcode == "SERVFAIL" and self._clock() < before.learned + before.seconds:
                return  # it was asked for before its time
            known.hits, known.asked = before.hits, before.asked
        self._known[key] = known
        self._known.move_to_end(key)
        while len(self._known) > NAMES:
            self._known.popitem(last=False)

    def _is_due(self, known: Known, now: float) -> bool:
        cache = self._cache
        if not cache.prefetch:
            return False
        if now - known.asked > cache.gap:
            known.hits = 0
        known.hits, known.asked = known.hits + 1, now
        left = known.learned + known.seconds - now
        return known.hits >= cache.prefetch and left <= math.ceil(known.seconds * cache.percentage / 100)

    def _seconds(self, question: Question, answer: Answer) -> int:
        cache = self._cache
        if answer.rcode == "SERVFAIL":
            return cache.servfail
        there = bool(answer.records)
        if any(within(question.lower, zone) for zone in (cache.no_success if there else cache.no_denial)):
            return 0
        least, most = (cache.least_success, cache.success) if there else (cache.least_denial, cache.denial)
        own = min((record.ttl for record in (*answer.records, *answer.authority)), default=least)
        return min(max(own, least), most)


def _aged(answer: Answer, seconds: int) -> Answer:
    def older(records: tuple[Record, ...]) -> tuple[Record, ...]:
        return tuple(Record(r.name, r.type, max(0, r.ttl - seconds), r.data) for r in records)

    return Answer(answer.rcode, older(answer.records), older(answer.authority))
