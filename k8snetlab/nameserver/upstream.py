"""Names outside: asked of other servers, and remembered for a while.

Source: RFC 1035 7.3 (which replies belong to a query), RFC 2308 (what is not there is remembered too); CoreDNS' plugins
forward (a server that does not answer is left for the next) and cache (at most for so long as it is set to).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import struct
import time

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from k8snetlab.dataplane.families import end
from k8snetlab.dataplane.names import HOST_NETNS
from k8snetlab.dns import caching
from k8snetlab.dns.answers import Answer, Question, Rcode, Record
from k8snetlab.dns.caching import Cache, said
from k8snetlab.errors import K8sNetLabError
from k8snetlab.nameserver import sockets
from k8snetlab.nameserver.choosing import Choice
from k8snetlab.nameserver.counters import Counters
from k8snetlab.nameserver.remembering import Memory
from k8snetlab.nameserver.sockets import End

PATIENCE = 2.0
"""Seconds in which one server answers."""
CACHE = Cache(30, 30)
AT_ONCE = 1000
"""So many questions may wait for other servers at once; more are refused."""
_RCODES: tuple[Rcode, ...] = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")


class Upstream:
    """`choice` is of servers, which are asked from the namespace `namespace`; `tcp`: by TCP only. At most `at_once`
    questions wait for them. `zones` are those of the server block."""

    def __init__(
        self,
        choice: Choice,
        counters: Counters,
        cache: Cache = CACHE,
        zones: tuple[str, ...] = (".",),
        *,
        namespace: str = HOST_NETNS,
        tcp: bool = False,
        at_once: int = 0,
    ) -> None:
        self._choice, self._counters, self._counts = choice, counters, counters.cache(zones)
        self._netns, self._tcp, self._at_once = namespace, tcp, min(at_once or AT_ONCE, AT_ONCE)
        self._cache, self._memory = cache, Memory(cache, counts=self._counts)
        self._waiting: dict[tuple[str, str], asyncio.Task[Answer]] = {}

    async def answer(self, question: Question) -> Answer:
        """What another server says; SERVFAIL where none answers, REFUSED where there is none to be asked, or too many
        questions wait."""
        if not self._choice:
            return Answer("REFUSED")
        key = question.lower, question.type
        known, due = self._memory.get(question)
        if known is not None:
            self._counts.hits["success" if caching.kind(known) == "success" else "denial"] += 1
            if due and key not in self._waiting and len(self._waiting) < self._at_once:
                self._counts.prefetches += 1
                self._begin(question)
            return known
        self._counts.misses += 1
        task = self._waiting.get(key)
        if task is None:
            if len(self._waiting) >= self._at_once:
                self._counters.rejected += 1
                return Answer("REFUSED")
            task = self._begin(question)
        return await asyncio.shield(task)

    def _begin(self, question: Question) -> asyncio.Task[Answer]:
        key = question.lower, question.type
        task = self._waiting[key] = asyncio.create_task(self._ask(question))
        task.add_done_callback(lambda _: self._waiting.pop(key, None))
        return task

    async def _ask(self, question: Question) -> Answer:
        for server in self._choice.order():
            began = time.perf_counter()
            with contextlib.suppress(OSError, TimeoutError, dns.exception.DNSException, EOFError, K8sNetLabError):
                answer = _answer(await self._exchange(question, server))
                self._choice.answered(server)
                self._counters.forwarded(end(*server), answer.rcode, time.perf_counter() - began)
                return self._remember(question, answer)  # also that it has failed: CoreDNS asks nobody else then
            self._choice.failed(server)
            self._counters.failed[end(*server)] += 1
        return self._remember(question, Answer("SERVFAIL"))

    async def _exchange(self, question: Question, server: End) -> dns.message.Message:
        """One question and its reply, by TCP where UDP's is truncated. Raises OSError, TimeoutError, DNSException."""
        name = dns.name.from_text(question.name)
        asked = dns.message.make_query(name, question.type, use_edns=0, payload=1232, id=secrets.randbits(16))
        if not self._tcp:
            async with asyncio.timeout(PATIENCE):
                reply = await _by_udp(asked, server, self._netns)
            if not reply.flags & dns.flags.TC:
                return reply
        async with asyncio.timeout(PATIENCE):
            return await _by_tcp(asked, server, self._netns)

    def _remember(self, question: Question, answer: Answer) -> Answer:
        self._memory.put(question, answer)
        return said(answer, self._cache)


class _Reply(asyncio.DatagramProtocol):
    def __init__(self, asked: dns.message.Message) -> None:
        self._asked = asked
        self.reply: asyncio.Future[dns.message.Message] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        with contextlib.suppress(dns.exception.DNSException, ValueError):
            read = dns.message.from_wire(data, ignore_trailing=True)
            if self._asked.is_response(read) and not self.reply.done():
                self.reply.set_result(read)

    def error_received(self, exc: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(exc)


async def _by_udp(asked: dns.message.Message, server: End, namespace: str) -> dns.message.Message:
    loop, opened = asyncio.get_running_loop(), sockets.to(namespace, server)
    transport, protocol = await loop.create_datagram_endpoint(lambda: _Reply(asked), sock=opened)
    try:
        transport.sendto(asked.to_wire())
        return await protocol.reply
    finally:
        transport.close()


async def _by_tcp(asked: dns.message.Message, server: End, namespace: str) -> dns.message.Message:
    reader, writer = await sockets.connected(namespace, server)
    try:
        octets = asked.to_wire()
        writer.write(struct.pack("!H", len(octets)) + octets)
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        read = dns.message.from_wire(await reader.readexactly(length))
        if not asked.is_response(read):
            raise dns.exception.FormError
        return read
    finally:
        writer.close()


def _answer(reply: dns.message.Message) -> Answer:
    rcode = dns.rcode.to_text(reply.rcode())
    if rcode not in _RCODES:
        return Answer("SERVFAIL")
    return Answer(
        rcode,
        _records(reply.answer),
        _records(reply.authority),
        _records(reply.additional),
        authoritative=bool(reply.flags & dns.flags.AA),
        plugin="forward",
    )


def _records(section: list[dns.rrset.RRset]) -> tuple[Record, ...]:
    return tuple(
        Record(rrset.name.to_text(), dns.rdatatype.to_text(rrset.rdtype), rrset.ttl, rdata.to_text())
        for rrset in section
        for rdata in rrset
    )
