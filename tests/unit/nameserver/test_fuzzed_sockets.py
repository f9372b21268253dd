"""What a fuzzer sends to real sockets, by UDP and TCP, and what one says in the place of an upstream."""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dns.asyncquery
import dns.message
import dns.rcode
import dns.rrset
import fuzzed
import pytest

from k8snetlab.nameserver import upstream

PACKETS, CONNECTIONS, QUESTIONS = 10_000, 200, 1_000
AT_A_TIME = 100


@contextmanager
def no_errors() -> Iterator[None]:
    """What a task or a protocol raises, asyncio tells its handler of, and goes on."""
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
    yield
    assert not errors, errors[0]


async def answered(port: int) -> bool:
    query = dns.message.make_query(fuzzed.NAME, "A")
    reply = await dns.asyncquery.udp(query, "127.0.0.1", port=port, timeout=30)
    return reply.rcode() == dns.rcode.NOERROR


def test_packets_of_a_fuzzer_by_udp_and_tcp_are_counted_and_right_ones_answered(server: Callable[..., Any]) -> None:
    async def work() -> None:
        one, dice, loop = server(), random.Random(fuzzed.SEED), asyncio.get_running_loop()
        async with one.running():
            with no_errors():
                flood, _ = await loop.create_datagram_endpoint(
                    asyncio.DatagramProtocol, remote_addr=("127.0.0.1", one.port)
                )
                for number in range(1, PACKETS + 1):
                    flood.sendto(fuzzed.packet(dice))
                    if not number % AT_A_TIME:
                        assert await answered(one.port)
                flood.close()
                for _ in range(CONNECTIONS):
                    await connection(one.port, dice)
                assert await answered(one.port)
            seen = one.counters.by("proto").total() + one.counters.dropped["no query"]
            assert seen > PACKETS
            assert not one.counters.panics

    asyncio.run(asyncio.wait_for(work(), 300))


async def connection(port: int, dice: random.Random) -> None:
    """Some packets, and a length that is none of them at times; then its end, or none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionError):
        for _ in range(dice.randrange(5)):
            octets = fuzzed.packet(dice)
            length = len(octets) if dice.randrange(3) else dice.randrange(200)
            writer.write(struct.pack("!H", length) + octets)
        if dice.randrange(2):
            writer.write_eof()
            await reader.read()
    writer.transport.abort()


class Mangling(asyncio.DatagramProtocol):
    """An upstream whose replies are right at times."""

    def __init__(self) -> None:
        self._dice = random.Random(fuzzed.SEED)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = dns.message.make_response(dns.message.from_wire(data))
        name = reply.question[0].name
        for type_, text in (("A", "192.0.2.80"), ("MX", "10 mail.example."), ("TXT", '"a" "b"'), ("SRV", "0 1 2 x.")):
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", type_, text))
        self._transport.sendto(fuzzed.mangled(reply.to_wire(), self._dice), addr)  # type: ignore[attr-defined]


def test_an_upstream_that_says_anything_leaves_no_question_unanswered(
    server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "PATIENCE", 0.3)

    async def work() -> None:
        loop = asyncio.get_running_loop()
        other, _ = await loop.create_datagram_endpoint(Mangling, local_addr=("127.0.0.1", 0))
        port = other.get_extra_info("sockname")[1]
        one = server(f". {{\n kubernetes cluster.local\n forward . 127.0.0.1:{port}\n cache 30\n}}")
        rcodes: list[int] = []

        async def ask(number: int) -> None:
            query = dns.message.make_query(f"x{number}.example.", "A")
            reply = await dns.asyncquery.udp(query, "127.0.0.1", port=one.port, timeout=60)
            rcodes.append(reply.rcode())

        async with one.running():
            with no_errors():
                for first in range(0, QUESTIONS, AT_A_TIME):
                    await asyncio.gather(*(ask(first + number) for number in range(AT_A_TIME)))
            assert {dns.rcode.NOERROR, dns.rcode.SERVFAIL} <= {*rcodes}
            assert len(rcodes) == QUESTIONS
            assert not one.counters.panics
        other.close()

    asyncio.run(asyncio.wait_for(work(), 300))
