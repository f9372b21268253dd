"""Names outside, asked of real servers on loopback: one that answers, one that is silent, one that lies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from k8snetlab.dns.answers import Answer, Question
from k8snetlab.dns.caching import Cache
from k8snetlab.nameserver import upstream
from k8snetlab.nameserver.choosing import Choice
from k8snetlab.nameserver.counters import Counters
from k8snetlab.nameserver.upstream import Upstream

WWW = Question("www.example.com.", "A")


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


class Other(asyncio.DatagramProtocol):
    """Another name server; `respond` makes what it sends of a query, None for nothing."""

    def __init__(self, respond: Callable[[dns.message.Message], list[dns.message.Message]]) -> None:
        self._respond, self.asked = respond, list[str]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        self.asked.append(query.question[0].name.to_text())
        for reply in self._respond(query):
            self._transport.sendto(reply.to_wire(), addr)  # type: ignore[attr-defined]

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        query = dns.message.from_wire(await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big")))
        octets = answered(query)[0].to_wire()
        writer.write(len(octets).to_bytes(2, "big") + octets)
        writer.close()


@asynccontextmanager
async def other(
    respond: Callable[[dns.message.Message], list[dns.message.Message]],
) -> AsyncIterator[tuple[Other, tuple[str, int]]]:
    loop = asyncio.get_running_loop()
    while True:  # until a port is free in both protocols
        transport, protocol = await loop.create_datagram_endpoint(lambda: Other(respond), local_addr=("127.0.0.1", 0))
        address = transport.get_extra_info("sockname")[:2]
        try:
            server = await asyncio.start_server(protocol.stream, *address)
            break
        except OSError:
            transport.close()
    try:
        yield protocol, address
    finally:
        transport.close()
        server.close()
        await asyncio.sleep(0)


def answered(query: dns.message.Message, ttl: int = 60) -> list[dns.message.Message]:
    reply = dns.message.make_response(query)
    reply.answer.append(dns.rrset.from_text(query.question[0].name, ttl, "IN", "A", "192.0.2.80"))
    return [reply]


def truncated(query: dns.message.Message) -> list[dns.message.Message]:
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.TC
    return [reply]


def missing(query: dns.message.Message) -> list[dns.message.Message]:
    reply = dns.message.make_response(query)
    reply.set_rcode(dns.rcode.NXDOMAIN)
    soa = "ns.example.com. root.example.com. 1 2 3 4 9"
    reply.authority.append(dns.rrset.from_text("example.com.", 9, "IN", "SOA", soa))
    return [reply]


def lying(query: dns.message.Message) -> list[dns.message.Message]:
    """With another id, then of another name, then the truth."""
    wrong_id, wrong_name, right = answered(query)[0], answered(dns.message.make_query("x.", "A"))[0], answered(query)[0]
    wrong_id.id ^= 1
    wrong_name.id = query.id
    return [wrong_id, wrong_name, right]


def data(answer: Answer) -> list[str]:
    return [record.data for record in answer.records]


def test_an_answer_is_asked_for_once_and_grows_old() -> None:
    async def work() -> None:
        async with other(answered) as (server, address):
            counters = Counters()
            asking = Upstream(Choice((address,)), counters)
            found = await asyncio.gather(*(asking.answer(WWW) for _ in range(20)))
            assert all(data(answer) == ["192.0.2.80"] for answer in found)
            assert data(await asking.answer(Question("WWW.example.com.", "A"))) == ["192.0.2.80"]
            assert server.asked == ["www.example.com."]
            assert counters.cache((".",)).hits == {"success": 1}

    run(work())


def failing(query: dns.message.Message) -> list[dns.message.Message]:
    reply = dns.message.make_response(query)
    reply.set_rcode(dns.rcode.SERVFAIL)
    return [reply]


def test_a_server_that_says_it_failed_is_believed_and_no_other_one_is_asked() -> None:
    async def work() -> None:
        async with other(failing) as (_, one), other(answered) as (second, two):
            assert (await Upstream(Choice((one, two)), Counters()).answer(WWW)).rcode == "SERVFAIL"
            assert second.asked == []

    run(work())


def test_an_answer_lives_as_long_as_it_is_kept_from_the_first_time_on_and_is_authoritative_then() -> None:
    def authoritative(query: dns.message.Message) -> list[dns.message.Message]:
        (reply,) = answered(query)
        reply.flags |= dns.flags.AA
        return [reply]

    async def work() -> None:
        for respond, first in ((answered, False), (authoritative, True)):
            async with other(respond) as (_, address):
                asking = Upstream(Choice((address,)), Counters(), Cache(20, 20))
                found = [await asking.answer(WWW) for _ in range(2)]
                assert [record.ttl for answer in found for record in answer.records] == [20, 20]
                assert [(answer.authoritative, answer.plugin) for answer in found] == [
                    (first, "forward"),
                    (True, "cache"),
                ]

    run(work())


def test_what_is_not_there_is_remembered_too() -> None:
    async def work() -> None:
        async with other(missing) as (server, address):
            asking = Upstream(Choice((address,)), Counters())
            assert [(await asking.answer(WWW)).rcode for _ in range(3)] == ["NXDOMAIN"] * 3
            assert len(server.asked) == 1

    run(work())


def test_a_truncated_reply_is_asked_for_by_tcp() -> None:
    async def work() -> None:
        async with other(truncated) as (_, address):
            assert data(await Upstream(Choice((address,)), Counters()).answer(WWW)) == ["192.0.2.80"]

    run(work())


def test_replies_that_belong_to_no_query_are_passed_over() -> None:
    async def work() -> None:
        async with other(lying) as (_, address):
            assert data(await Upstream(Choice((address,)), Counters()).answer(WWW)) == ["192.0.2.80"]

    run(work())


def test_a_silent_server_is_left_for_the_next_and_with_none_left_it_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upstream, "PATIENCE", 0.3)

    async def work() -> None:
        async with other(lambda query: []) as (silent, one), other(answered) as (_, two):
            assert data(await Upstream(Choice((one, two)), Counters()).answer(WWW)) == ["192.0.2.80"]
            asking = Upstream(Choice((one,)), Counters())
            assert (await asking.answer(WWW)).rcode == "SERVFAIL"
            asked = len(silent.asked)
            assert (await asking.answer(WWW)).rcode == "SERVFAIL"
            assert len(silent.asked) == asked, "it is remembered that nobody answers"

    run(work())


def test_what_is_asked_for_often_is_asked_for_anew_before_it_is_forgotten() -> None:
    async def work() -> None:
        async with other(answered) as (server, address):
            counters = Counters()
            asking = Upstream(Choice((address,)), counters, Cache(60, 60, prefetch=3, percentage=100))
            for _ in range(3):
                await asking.answer(WWW)
            assert len(server.asked) == 1
            assert data(await asking.answer(WWW)) == ["192.0.2.80"]
            while len(server.asked) == 1:
                await asyncio.sleep(0.01)
            counts = counters.cache((".",))
            assert (len(server.asked), counts.prefetches, counts.misses) == (2, 1, 1)

    run(work())


def test_nobody_listening_is_known_at_once() -> None:
    async def work() -> None:
        async with other(answered) as (_, address):
            pass
        assert (await Upstream(Choice((address,)), Counters()).answer(WWW)).rcode == "SERVFAIL"

    run(work())


def test_more_questions_than_may_wait_fail_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "PATIENCE", 0.3)
    monkeypatch.setattr(upstream, "AT_ONCE", 3)

    async def work() -> None:
        async with other(lambda query: []) as (_, address):
            counters = Counters()
            asking = Upstream(Choice((address,)), counters)
            names = [Question(f"n{n}.example.com.", "A") for n in range(8)]
            found = await asyncio.gather(*(asking.answer(name) for name in names))
            assert sorted(answer.rcode for answer in found) == ["REFUSED"] * 5 + ["SERVFAIL"] * 3
            assert "coredns_forward_max_concurrent_rejects_total 5\n" in counters.text()

    run(work())
