"""Real queries over loopback: by UDP, by TCP, of many at once, and of those who mean no good."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import socket
import struct
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import fuzzed
import pytest
from golden import objects

from k8snetlab.nameserver import answering, serving

WEB = "web.default.svc.cluster.local."
LATE = 10.0


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


async def ask(port: int, name: str = WEB, type_: str = "A", tcp: bool = False) -> dns.message.Message:
    asked = dns.message.make_query(name, type_)
    by = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    return await by(asked, "127.0.0.1", port=port, timeout=LATE)


def addresses(reply: dns.message.Message) -> list[str]:
    return [rdata.to_text() for rrset in reply.answer for rdata in rrset]


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_a_name_is_answered(server: Callable[..., Any], tcp: bool) -> None:
    async def work() -> None:
        one = server()
        async with one.running():
            assert addresses(await ask(one.port, tcp=tcp)) == ["10.96.0.20"]
            assert (await ask(one.port, "nothing.default.svc.cluster.local.", tcp=tcp)).rcode() == dns.rcode.NXDOMAIN
            assert one.counters.by("proto", "type") == {("tcp" if tcp else "udp", "A"): 2}
            assert one.counters.by("rcode") == {("NOERROR",): 1, ("NXDOMAIN",): 1}

    run(work())


def test_an_answer_given_before_changes_with_the_objects(server: Callable[..., Any]) -> None:
    async def work() -> None:
        one = server()
        async with one.running():
            for _ in range(3):
                assert addresses(await ask(one.port)) == ["10.96.0.20"]
            assert one.counters.by("proto", "type") == {("udp", "A"): 3}
            moved = objects(MOVED)[0]
            one.world = one.world.changed([(type(moved), moved.key, moved)], 2)
            assert addresses(await ask(one.port)) == ["10.96.0.99"]
            one.world = one.world.changed([(type(moved), moved.key, None)], 3)
            assert (await ask(one.port)).rcode() == dns.rcode.NXDOMAIN

    run(work())


MOVED = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.0.99, ports: [{port: 80}]}
"""


def test_before_the_objects_are_known_it_fails_and_says_so(server: Callable[..., Any]) -> None:
    async def work() -> None:
        one = server()
        one.world = None
        async with one.running():
            assert (await ask(one.port)).rcode() == dns.rcode.SERVFAIL

    run(work())


def test_a_name_outside_is_refused_at_once_where_nobody_is_to_be_asked(server: Callable[..., Any]) -> None:
    async def work() -> None:
        one = server()
        async with one.running():
            assert (await ask(one.port, "www.example.com.")).rcode() == dns.rcode.REFUSED
            reply = await ask(one.port, "outside.default.svc.cluster.local.")
            assert (reply.rcode(), addresses(reply)) == (dns.rcode.NOERROR, ["www.example.com."])

    run(work())


def test_two_queries_of_one_connection_are_answered_in_order(server: Callable[..., Any]) -> None:
    async def work() -> None:
        one = server()
        async with one.running():
            reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
            asked = [dns.message.make_query(WEB, type_).to_wire() for type_ in ("A", "SRV")]
            writer.write(b"".join(struct.pack("!H", len(octets)) + octets for octets in asked))
            for octets in asked:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                assert (await reader.readexactly(length))[:2] == octets[:2]
            writer.close()

    run(work())


def test_a_connection_that_says_half_a_query_is_ended_and_others_are_answered(
    server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "IDLE", 0.2)

    async def work() -> None:
        one = server()
        async with one.running():
            stalling = [await asyncio.open_connection("127.0.0.1", one.port) for _ in range(20)]
            for _, writer in stalling:
                writer.write(b"\0\x40half")
            silent, other = await asyncio.open_connection("127.0.0.1", one.port)
            assert addresses(await ask(one.port, tcp=True)) == ["10.96.0.20"]
            for reader, writer in [*stalling, (silent, other)]:
                assert await reader.read() == b""
                writer.close()
            half, writer = await asyncio.open_connection("127.0.0.1", one.port)
            writer.write(b"\0\x40half")
            writer.write_eof()
            assert await half.read() == b""
            writer.close()
            assert one.counters.dropped == {"stalled connection": 20, "half a query": 1}

    run(work())


def test_a_flood_of_one_name_outside_is_dropped_and_counted(
    server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "WAITING", 5)

    async def work() -> None:
        loop = asyncio.get_running_loop()
        silent, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
        port = silent.get_extra_info("sockname")[1]
        one = server(f". {{\n kubernetes cluster.local\n forward . 127.0.0.1:{port}\n}}")
        async with one.running():
            flood, _ = await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=("127.0.0.1", one.port)
            )
            for number in range(20):
                flood.sendto(dns.message.make_query("www.example.com.", "A", id=number).to_wire())
            assert addresses(await ask(one.port)) == ["10.96.0.20"]
            assert one.counters.dropped == {"too many wait": 15}
            flood.close()
            silent.close()

    run(work())


def test_a_connection_that_reads_nothing_is_ended_too(
    server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "IDLE", 0.2)

    async def work() -> None:
        one = server()
        async with one.running():
            with socket.socket() as greedy:
                greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                greedy.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(greedy, ("127.0.0.1", one.port))
                octets = dns.message.make_query(WEB, "A").to_wire()
                many = (struct.pack("!H", len(octets)) + octets) * 2000
                with contextlib.suppress(ConnectionError):
                    while True:
                        await asyncio.wait_for(loop.sock_sendall(greedy, many), 30)
            assert addresses(await ask(one.port, tcp=True)) == ["10.96.0.20"]
            assert one.counters.dropped == {"stalled connection": 1}

    run(work())


def test_a_hundred_thousand_packets_of_a_fuzzer_leave_no_exception_and_no_growth(server: Callable[..., Any]) -> None:
    one, dice, held = server(), random.Random(fuzzed.SEED), 0
    for number in range(fuzzed.PACKETS):
        octets = fuzzed.packet(dice)
        reply = one.answering.now(octets, answering.UDP if number % 2 else answering.TCP)
        assert reply is None or (reply[:2] == octets[:2] and reply[2] & 0x80)
        if number == fuzzed.PACKETS // 4:
            held = _resident()
    assert _resident() - held < 16 << 20
    counted = one.counters.by("rcode")
    assert counted.total() + one.counters.dropped["no query"] == fuzzed.PACKETS
    assert counted["FORMERR",] > fuzzed.PACKETS // 10
    assert not one.counters.panics


def _resident() -> int:
    """Octets of this process."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_more_connections_than_it_takes_are_ended_and_udp_goes_on(
    server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "CONNECTIONS", 5)

    async def work() -> None:
        one = server()
        async with one.running():
            held = [await asyncio.open_connection("127.0.0.1", one.port) for _ in range(5)]
            reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
            assert await reader.read() == b""
            assert one.counters.dropped == {"too many connections": 1}
            assert addresses(await ask(one.port)) == ["10.96.0.20"]
            for _, other in [*held, (reader, writer)]:
                other.close()

    run(work())


def test_garbage_is_counted_and_the_next_query_is_answered(server: Callable[..., Any]) -> None:
    async def work() -> None:
        one = server()
        async with one.running():
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=("127.0.0.1", one.port)
            )
            for octets in (b"", b"x", b"\0\1\x80" + bytes(9), b"\0\1\0\0\0\1" + bytes(6) + b"\xc0\x0c\0\1\0\1"):
                transport.sendto(octets)
            assert addresses(await ask(one.port)) == ["10.96.0.20"]
            transport.close()
            assert one.counters.by("rcode")["FORMERR",] == 1
            assert one.counters.dropped["no query"] >= 2
            assert 'zone="dropped",view="",rcode="FORMERR",plugin=""} 1' in one.counters.text()

    run(work())


def test_what_is_too_large_by_udp_is_whole_by_tcp(server: Callable[..., Any]) -> None:
    async def work() -> None:
        one = server()
        async with one.running():
            endpoints = ", ".join(f"{{addresses: [10.244.7.{n}]}}" for n in range(1, 100))
            slice_ = objects(MANY.replace("ENDPOINTS", endpoints))[0]
            one.world = one.world.changed([(type(slice_), slice_.key, slice_)], 2)
            name = "db.default.svc.cluster.local."
            assert (await ask(one.port, name)).flags & dns.flags.TC
            assert len(addresses(await ask(one.port, name, tcp=True))) == 102

    run(work())


MANY = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-9, namespace: default, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: sql, port: 3306}]
endpoints: [ENDPOINTS]
"""


def test_a_wrong_corefile_leaves_the_one_before_and_a_right_one_is_taken(server: Callable[..., Any]) -> None:
    async def work() -> None:
        one = server()
        async with one.running():
            assert not one.configured.take(". {\n rewrite x\n}")
            assert addresses(await ask(one.port)) == ["10.96.0.20"]
            assert one.configured.take("lab.example {\n kubernetes lab.example\n}")
            one.world = one.world.changed([], 2)
            assert (await ask(one.port)).rcode() == dns.rcode.REFUSED
            assert addresses(await ask(one.port, "web.default.svc.lab.example.")) == ["10.96.0.20"]
            assert not one.configured.take("")
            assert addresses(await ask(one.port, "web.default.svc.lab.example.")) == ["10.96.0.20"]

    run(work())


def test_with_loadbalance_each_address_comes_first_at_times(server: Callable[..., Any]) -> None:
    async def work() -> None:
        one = server("cluster.local {\n kubernetes cluster.local\n loadbalance\n}")
        async with one.running():
            found = [addresses(await ask(one.port, "db.default.svc.cluster.local.")) for _ in range(60)]
            assert {reply[0] for reply in found} == {"10.244.1.10", "10.244.2.10", "10.244.3.11"}
            assert all(sorted(reply) == sorted(found[0]) for reply in found)

    run(work())


def test_without_loadbalance_addresses_stay_in_order(server: Callable[..., Any]) -> None:
    async def work() -> None:
        one = server()
        async with one.running():
            found = [addresses(await ask(one.port, "db.default.svc.cluster.local.")) for _ in range(20)]
            assert found == [["10.244.1.10", "10.244.2.10", "10.244.3.11"]] * 20

    run(work())


def test_a_name_for_one_outside_is_the_clusters_own_answer(server: Callable[..., Any]) -> None:
    """With AA, without RA, and for as long as the alias holds, as CoreDNS' kubernetes writes it."""

    async def work() -> None:
        loop = asyncio.get_running_loop()
        upstream, _ = await loop.create_datagram_endpoint(Outside, local_addr=("127.0.0.1", 0))
        port = upstream.get_extra_info("sockname")[1]
        one = server(f". {{\n kubernetes cluster.local\n forward . 127.0.0.1:{port}\n cache 30\n}}")
        async with one.running():
            reply = await ask(one.port, "outside.default.svc.cluster.local.")
            assert addresses(reply) == ["www.example.com.", "192.0.2.80"]
            assert (reply.flags & dns.flags.AA, reply.flags & dns.flags.RA) == (dns.flags.AA, 0)
            assert {rrset.ttl for rrset in reply.answer} == {5}
            (found,) = (await ask(one.port, "www.example.com.")).answer
            assert found.ttl == 30
        upstream.close()

    run(work())


class Outside(asyncio.DatagramProtocol):
    """A server that knows one address, for a minute."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = dns.message.make_response(dns.message.from_wire(data))
        reply.answer.append(dns.rrset.from_text(reply.question[0].name, 60, "IN", "A", "192.0.2.80"))
        self._transport.sendto(reply.to_wire(), addr)  # type: ignore[attr-defined]


def test_without_a_corefile_it_fails_and_is_not_ready(server: Callable[..., Any]) -> None:
    async def work() -> None:
        one = server("")
        async with one.running():
            assert (await ask(one.port)).rcode() == dns.rcode.SERVFAIL
            assert not one.configured.ready

    run(work())


def test_an_answer_that_no_message_can_have_is_a_failure_and_no_silence(server: Callable[..., Any]) -> None:
    long = "a" * 64
    one = server(f". {{\n hosts {{\n  192.0.2.7 {long}\n }}\n}}")
    reply = one.answering.now(dns.message.make_query("7.2.0.192.in-addr.arpa.", "PTR").to_wire(), answering.UDP)
    assert dns.message.from_wire(reply).rcode() == dns.rcode.SERVFAIL
    assert one.counters.by("rcode") == {("SERVFAIL",): 1}
