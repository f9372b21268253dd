"""Every connection that conntrack knows in a namespace, as `conntrack -L` lists them.

Source: linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_common.h, nf_conntrack_tcp.h.
"""

from __future__ import annotations

import socket
import struct

import msgspec

from k8snetlab.dataplane.rules import Family
from k8snetlab.kernel.netlink import attributes
from k8snetlab.kernel.nfnetlink import FAMILIES, Nfnetlink

_GET = 1 << 8 | 1
_ORIGINAL, _REPLY, _STATUS, _PROTOINFO, _TIMEOUT, _MARK = 1, 2, 3, 4, 7, 8
_IP, _PROTO = 1, 2
_SOURCE, _DESTINATION = {"ipv4": 1, "ipv6": 3}, {"ipv4": 2, "ipv6": 4}
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
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
        return [_entry(attributes(data), family) for data in netfilter.dump(_GET, FAMILIES[family])]


def _entry(found: dict[int, bytes], family: Family) -> Entry:
    status = _number(found.get(_STATUS, b""))
    protocol = attributes(attributes(found[_ORIGINAL])[_PROTO])[_NUMBER][0]
    return Entry(
        protocol=_PROTOCOLS.get(protocol, str(protocol)),
        state=_tcp_state(found.get(_PROTOINFO, b"")) if protocol == socket.IPPROTO_TCP else "",
        timeout=_number(found.get(_TIMEOUT, b"")),
        original=_tuple(found[_ORIGINAL], family),
        reply=_tuple(found[_REPLY], family),
        replied=bool(status & _SEEN_REPLY),
        assured=bool(status & _ASSURED),
        mark=_number(found.get(_MARK, b"")),
    )


def _tuple(data: bytes, family: Family) -> Tuple:
    parts = attributes(data)
    ip, proto = attributes(parts[_IP]), attributes(parts[_PROTO])
    ends = [socket.inet_ntop(FAMILIES[family], ip[kind[family]]) for kind in (_SOURCE, _DESTINATION)]
    ports = [_number(proto.get(kind, b"")) for kind in (_SOURCE_PORT, _DESTINATION_PORT)]
    return Tuple(ends[0], ends[1], ports[0], ports[1])


def _tcp_state(data: bytes) -> str:
    """CTA_PROTOINFO_TCP (1) holds CTA_PROTOINFO_TCP_STATE (1), one byte."""
    state = attributes(attributes(data).get(1, b"")).get(1, b"")
    return _TCP_STATES[state[0]] if state and state[0] < len(_TCP_STATES) else ""


def _number(data: bytes) -> int:
    match len(data):
        case 2:
            return int(struct.unpack("!H", data)[0])
        case 4:
            return int(struct.unpack("!I", data)[0])
    return 0
