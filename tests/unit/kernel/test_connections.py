"""A connection as the kernel tells of it: what of it has ports, and what has none."""

from __future__ import annotations

import socket
import struct

import pytest

from k8snetlab.dataplane.rules import Family
from k8snetlab.kernel.connections import entry
from k8snetlab.kernel.nfnetlink import attribute

ENDS: dict[Family, tuple[str, str]] = {"ipv4": ("10.0.0.1", "10.0.0.2"), "ipv6": ("2001:db8::1", "2001:db8::2")}
TCP, ICMP, SCTP = 6, 1, 132
NUMBER, SOURCE_PORT, DESTINATION_PORT, ICMP_ID = 1, 2, 3, 4


def octets(kind: int, number: int, size: int = 2) -> bytes:
    return attribute(kind, number.to_bytes(size, "big"))


def direction(kind: int, family: Family, ends: tuple[str, str], proto: bytes) -> bytes:
    first = {"ipv4": 1, "ipv6": 3}[family]
    af = socket.AF_INET6 if family == "ipv6" else socket.AF_INET
    addresses = b"".join(attribute(first + n, socket.inet_pton(af, end)) for n, end in enumerate(ends))
    return attribute(kind, attribute(1, addresses, nested=True) + attribute(2, proto, nested=True), nested=True)


def told(family: Family, asked: bytes, answered: bytes, *more: bytes) -> str:
    source, target = ENDS[family]
    both = direction(1, family, (source, target), asked) + direction(2, family, (target, source), answered)
    seen = attribute(3, struct.pack("!I", 1 << 1 | 1 << 2))
    return entry(both + seen + attribute(7, struct.pack("!I", 119)) + b"".join(more), family).words()


def with_ports(number: int, source: int, destination: int) -> bytes:
    return octets(NUMBER, number, 1) + octets(SOURCE_PORT, source) + octets(DESTINATION_PORT, destination)


@pytest.mark.parametrize("family", ENDS)
def test_a_connection_of_tcp_has_ports_and_a_state(family: Family) -> None:
    state = attribute(4, attribute(1, octets(1, 7, 1), nested=True), nested=True)
    line = told(family, with_ports(TCP, 40000, 80), with_ports(TCP, 8080, 40000), state, octets(8, 0x4000, 4))
    source, target = ENDS[family]
    assert line == (
        f"tcp 119 TIME_WAIT src={source} dst={target} sport=40000 dport=80"
        f" src={target} dst={source} sport=8080 dport=40000 [ASSURED] mark=16384"
    )


def test_what_has_no_ports_is_told_without_them() -> None:
    echo = octets(NUMBER, ICMP, 1) + octets(ICMP_ID, 9) + octets(5, 8, 1) + octets(6, 0, 1)
    assert told("ipv4", echo, echo).startswith("icmp 119 src=10.0.0.1 dst=10.0.0.2 src=10.0.0.2 dst=10.0.0.1 ")


def test_ports_in_another_order_are_the_same_ports() -> None:
    turned = octets(DESTINATION_PORT, 80) + octets(SOURCE_PORT, 40000) + octets(NUMBER, SCTP, 1)
    assert told("ipv4", turned, turned) == told("ipv4", *[with_ports(SCTP, 40000, 80)] * 2)
