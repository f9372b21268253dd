"""Every connection that conntrack knows in a namespace, as `conntrack -L` lists them.

Source: linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_common.h, nf_conntrack_tcp.h.
"""

from __future__ import annotations

import socket
import struct
from functools import lru_cache

import msgspec

from k8snetlab.dataplane.rules import Family
from k8snetlab.kernel.messages import ATTRIBUTE
from k8snetlab.kernel.netlink import attributes
from k8snetlab.kernel.nfnetlink import FAMILIES, Nfnetlink

_GET = 1 << 8 | 1
_ORIGINAL, _REPLY, _STATUS, _PROTOINFO, _TIMEOUT, _MARK = 1, 2, 3, 4, 7, 8
_IP, _PROTO = 1, 2
_SOURCE, _DESTINATION = {"ipv4": 1, "ipv6": 3}, {"ipv4": 2, "ipv6": 4}
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_WITH_PORTS = struct.Struct("!4sB3x 4sH2x 4sH2x")
"""A CTA_TUPLE_PROTO of TCP, UDP or SCTP: number and ports, each behind its head. To take attributes apart one by one
takes three times as long, and a node has thousands of connections."""
_HEADS = tuple(ATTRIBUTE.pack(size, kind) for size, kind in ((5, _NUMBER), (6, _SOURCE_PORT), (6, _DESTINATION_PORT)))
_SEEN_REPLY, _ASSURED = 1 << 1, 1 << 2
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}
_TCP_STATES = (
    "NONE",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
)


class Tuple(msgspec.Struct, frozen=True):
    """One direction; ports are 0 for ICMP."""

    src: str
    dst: str
    sport: int = 0
    dport: int = 0

    def words(self) -> str:
        ports = f" sport={self.sport} dport={self.dport}" if self.sport or self.dport else ""
        return f"src={self.src} dst={self.dst}{ports}"


class Entry(msgspec.Struct, frozen=True):
    """A connection: `original` as the client sent it, `reply` as the answers come; `timeout` in seconds."""

    protocol: str
    state: str
    timeout: int
    original: Tuple
    reply: Tuple
    replied: bool
    assured: bool
    mark: int = 0

    def words(self) -> str:
        """As `conntrack -L` prints it."""
        state = f" {self.state}" if self.state else ""
        unreplied = "" if self.replied else " [UNREPLIED]"
        assured = " [ASSURED]" if self.assured else ""
        head = f"{self.protocol} {self.timeout}{state} {self.original.words()}{unreplied}"
        return f"{head} {self.reply.words()}{assured} mark={self.mark}"


def entries(namespace: str, family: Family) -> list[Entry]:
    """All connections of a family. Raises NotFoundError, KernelError."""
    with Nfnetlink(namespace) as netfilter:
        return [entry(data, family) for data in netfilter.dump(_GET, FAMILIES[family])]


def entry(data: bytes, family: Family) -> Entry:
    """One of them, of its attributes as the kernel tells them."""
    found = attributes(data)
    status = _number(found.get(_STATUS, b""))
    protocol, original = _tuple(found[_ORIGINAL], family)
    return Entry(
        protocol=_PROTOCOLS.get(protocol, str(protocol)),
        state=_tcp_state(found.get(_PROTOINFO, b"")) if protocol == socket.IPPROTO_TCP else "",
        timeout=_number(found.get(_TIMEOUT, b"")),
        original=original,
        reply=_tuple(found[_REPLY], family)[1],
        replied=bool(status & _SEEN_REPLY),
        assured=bool(status & _ASSURED),
        mark=_number(found.get(_MARK, b"")),
    )


def _tuple(data: bytes, family: Family) -> tuple[int, Tuple]:
    """The protocol's number, and a direction."""
    parts = attributes(data)
    protocol, *ports = _ports(parts[_PROTO])
    return protocol, Tuple(*_ends(parts[_IP], family), *ports)


@lru_cache(1024)
def _ends(pair: bytes, family: Family) -> tuple[str, str]:
    """Of a client and a server, which may have thousands of connections."""
    ip = attributes(pair)
    source, destination = ip[_SOURCE[family]], ip[_DESTINATION[family]]
    return socket.inet_ntop(FAMILIES[family], source), socket.inet_ntop(FAMILIES[family], destination)


def _ports(data: bytes) -> tuple[int, int, int]:
    """The protocol's number, and both ports, 0 where it has none."""
    if len(data) == _WITH_PORTS.size:
        first, number, second, source, third, destination = _WITH_PORTS.unpack(data)
        if (first, second, third) == _HEADS:
            return number, source, destination
    found = attributes(data)
    return found[_NUMBER][0], _number(found.get(_SOURCE_PORT, b"")), _number(found.get(_DESTINATION_PORT, b""))


@lru_cache(256)
def _tcp_state(data: bytes) -> str:
    """CTA_PROTOINFO_TCP (1) holds CTA_PROTOINFO_TCP_STATE (1), one byte."""
    state = attributes(attributes(data).get(1, b"")).get(1, b"")
    return _TCP_STATES[state[0]] if state and state[0] < len(_TCP_STATES) else ""


def _number(data: bytes) -> int:
    """0 where it is not given."""
    return int.from_bytes(data, "big")
