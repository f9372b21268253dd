"""Octets of a query in, octets of its reply out; what is asked elsewhere first is said."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

import dns.exception

from k8snetlab.dns import wire
from k8snetlab.dns.answers import Answer, Question
from k8snetlab.dns.chain import Onward
from k8snetlab.nameserver.counters import OUTSIDE, Counters, Kind, Tally
from k8snetlab.nameserver.forwarding import Forwarding

log = logging.getLogger(__name__)
REMEMBERED = 8_192
"""So many replies are kept as they were written, until an object changes: at most 8 MB."""


class Way(NamedTuple):
    """By which a query comes, in metrics' words. `size` is what the way back takes, in octets; None: what the query
    says."""

    proto: str
    family: str
    size: int | None


UDP, UDP6 = Way("udp", "1", None), Way("udp", "2", None)
TCP, TCP6 = Way("tcp", "1", wire.TCP), Way("tcp", "2", wire.TCP)


class Later(NamedTuple):
    """A query of so many octets that came at `began` (perf_counter), and of whom it is to be asked."""

    query: wire.Query
    onward: Onward
    way: Way
    began: float
    octets: int


class Answering:
    """One server's answers. `decide` says what a question is answered, or of whom it is to be asked; what it has said
    holds for as long as `state` is the same. `zone` is that of the server block that a question belongs to."""

    def __init__(
        self,
        decide: Callable[[Question], Answer | Onward],
        state: Callable[[], object],
        zone: Callable[[Question], str],
        forwarding: Forwarding,
        counters: Counters,
    ) -> None:
        self._decide, self._state, self._zone = decide, state, zone
        self._forwarding, self.counters = forwarding, counters
        self._written: dict[tuple[Way, bytes], tuple[Tally, bytes]] = {}
        """By a query without its id: where it is counted, and the reply without its id."""
        self._of: object = None

    def forget(self) -> None:
        """What was decided holds no more."""
        self._written.clear()

    def now(self, octets: bytes, way: Way) -> bytes | Later | None:
        """The reply to a query, None for none; what is to be asked first, where that is so."""
        began = time.perf_counter()
        state = self._state()
        if state is not self._of:
            self._written.clear()
            self._of = state
        key = way, octets[2:]
        if (written := self._written.get(key)) is not None:
            tally, rest = written
            tally.add(time.perf_counter() - began, len(octets), len(rest) + 2)
            return octets[:2] + rest
        read = wire.query(octets)
        if isinstance(read, wire.Refused):
            return self._refused(read, len(octets), way, began)
        try:
            answer = self._decide(read.question)
        except Exception:
            answer = self._failed(read)
        if isinstance(answer, Onward):
            return Later(read, answer, way, began, len(octets))
        answer, reply = _written(read, answer, way.size or read.size)
        tally = self._tally(read, answer, way)
        tally.add(time.perf_counter() - began, len(octets), len(reply))
        if len(answer.records) < 2 and len(octets) <= wire.UDP:  # of more the order may change
            if len(self._written) >= REMEMBERED:
                self._written.clear()
            self._written[key] = tally, reply[2:]
        return reply

    async def later(self, later: Later) -> bytes:
        """The reply, after others have been asked."""
        try:
            answer = await self._forwarding.ask(later.onward)
        except Exception:
            answer = self._failed(later.query)
        recursive = not later.onward.before
        answer, reply = _written(later.query, answer, later.way.size or later.query.size, recursive=recursive)
        tally = self._tally(later.query, answer, later.way)
        tally.add(time.perf_counter() - later.began, later.octets, len(reply))
        return reply

    def _refused(self, read: wire.Refused, octets: int, way: Way, began: float) -> bytes | None:
        if read.reply is None:
            self.counters.dropped["no query"] += 1
        else:
            kind = Kind(OUTSIDE, way.proto, way.family, "", read.rcode or "FORMERR", "", False)
            self.counters.of(kind).add(time.perf_counter() - began, octets, len(read.reply))
        return read.reply

    def _failed(self, query: wire.Query) -> Answer:
        """An error of ours is a failure of this question, and no silence."""
        log.exception("%s", query.question)
        self.counters.panics += 1
        return Answer("SERVFAIL")

    def _tally(self, query: wire.Query, answer: Answer, way: Way) -> Tally:
        zone, type_ = self._zone(query.question), query.question.type
        return self.counters.of(Kind(zone, way.proto, way.family, type_, answer.rcode, answer.plugin, query.dnssec))


def _written(query: wire.Query, answer: Answer, size: int, *, recursive: bool = False) -> tuple[Answer, bytes]:
    """The reply, and what it says: SERVFAIL where the answer has what no message can, as a label of 64 octets."""
    try:
        return answer, wire.reply(query, answer, size, recursive)
    except (dns.exception.DNSException, ValueError):
        failed = Answer("SERVFAIL")
        return failed, wire.reply(query, failed, size, recursive)
