"""Forgetting connections, as kube-proxy does when an endpoint or a Service goes.

A UDP "connection" lives on as long as packets come, and keeps its old translation; TCP's end by themselves.
Source: linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from k8snetlab.dataplane.rules import Family
from k8snetlab.kernel.netlink import attributes
from k8snetlab.kernel.nfnetlink import FAMILIES, Nfnetlink, attribute

_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2
"""NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET and _DELETE."""
_GET_STATS, _ENTRIES = 1 << 8 | 5, 1
"""IPCTNL_MSG_CT_GET_STATS, which answers with CTA_STATS_GLOBAL_ENTRIES."""
_ORIGINAL, _REPLY, _ID, _ZONE = 1, 2, 12, 18
_IP, _PROTOCOL = 1, 2
_SOURCE = {"ipv4": 1, "ipv6": 3}
_DESTINATION = {"ipv4": 2, "ipv6": 4}
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3

_PROTOCOLS = {socket.IPPROTO_TCP: "TCP", socket.IPPROTO_UDP: "UDP", socket.IPPROTO_SCTP: "SCTP"}
_FILTER, _ORIGINAL_FLAGS, _REPLY_FLAGS = 25, 1, 2
_BY_PROTOCOL, _BY_DESTINATION_PORT = 1 << 3, 1 << 5
"""CTA_FILTER and what is in it (Linux 5.8; before that the kernel passes it by, and all entries are told)."""
Destination = tuple[str, int]
"""Address and port."""


class Connection(NamedTuple):
    """`destination` is what the client sent to, `answers` the "ip:port" that replies come from; `entry` is as the
    kernel tells of it."""

    destination: Destination
    answers: str
    entry: Mapping[int, bytes]


class Flow(NamedTuple):
    """A connection between the addresses that a filter in FORWARD sees of its first packet: `target` and `port` after
    DNAT, `source` before SNAT. `protocol` is TCP, UDP or SCTP."""

    source: str
    target: str
    protocol: str
    port: int


def udp(namespace: str, family: Family, ports: Collection[int] = ()) -> list[Connection]:
    """The UDP connections that conntrack knows in a namespace; where `ports` are told, those that were sent to one of
    them are among these. Raises NotFoundError, KernelError."""
    with Nfnetlink(namespace) as netfilter:
        return list(_udp(netfilter, family, ports)) if _held(netfilter) else []


def forget_udp(namespace: str, family: Family, serving: Mapping[Destination, Collection[str]]) -> int:
    """Deletes the UDP entries that were sent to a destination in `serving` and are answered by none of its "ip:port";
    returns how many.

    A destination with the address "" is a port on any address. Raises NotFoundError, KernelError.
    """
    with Nfnetlink(namespace) as netfilter:
        if not _held(netfilter):
            return 0
        old = [c for c in _udp(netfilter, family, ports_of(serving)) if stale(c, serving)]
        outcomes = [netfilter.request(_DELETE, _identity(c.entry), FAMILIES[family]) for c in old]
    return sum(outcome != errno.ENOENT for outcome in outcomes)


def forget_within(namespace: str, family: Family, networks: Collection[str]) -> int:
    """Deletes every entry with an end, before or after translation, in one of the networks; returns how many.

    Raises NotFoundError, KernelError.
    """
    whole = [network for network in map(ip_network, networks) if f"ipv{network.version}" == family]
    with Nfnetlink(namespace) as netfilter:
        stale = [
            _identity(entry)
            for entry in map(attributes, list(netfilter.dump(_GET, FAMILIES[family])))
            if any(ip_address(end) in network for end in _ends(entry, family) for network in whole)
        ]
        outcomes = [netfilter.request(_DELETE, identity, FAMILIES[family]) for identity in stale]
    return sum(outcome != errno.ENOENT for outcome in outcomes)


def forget(namespace: str, family: Family, unwanted: Callable[[Flow], bool]) -> int:
    """Deletes the entries that are unwanted, of TCP, UDP and SCTP; returns how many. The next packet of a connection
    that is forgotten is judged as if it were its first. Raises NotFoundError, KernelError."""
    with Nfnetlink(namespace) as netfilter:
        entries = map(attributes, list(netfilter.dump(_GET, FAMILIES[family])))
        found = [_identity(entry) for entry in entries if (flow := _flow(entry, family)) and unwanted(flow)]
        outcomes = [netfilter.request(_DELETE, identity, FAMILIES[family]) for identity in found]
    return sum(outcome != errno.ENOENT for outcome in outcomes)


def _flow(entry: Mapping[int, bytes], family: Family) -> Flow | None:
    original, reply = attributes(entry[_ORIGINAL]), attributes(entry[_REPLY])
    protocol = _PROTOCOLS.get(attributes(original[_PROTOCOL])[_NUMBER][0])
    if protocol is None:
        return None
    source = attributes(original[_IP])[_SOURCE[family]]
    target = _end(attributes(reply[_IP])[_SOURCE[family]], attributes(reply[_PROTOCOL])[_SOURCE_PORT], family)
    return Flow(socket.inet_ntop(FAMILIES[family], source), target[0], protocol, target[1])


def _ends(entry: Mapping[int, bytes], family: Family) -> Iterator[bytes]:
    for direction in (_ORIGINAL, _REPLY):
        addresses = attributes(attributes(entry[direction])[_IP])
        yield from (addresses[_SOURCE[family]], addresses[_DESTINATION[family]])


def _identity(entry: Mapping[int, bytes]) -> bytes:
    identity = attribute(_ORIGINAL, entry[_ORIGINAL], nested=True)
    return identity + b"".join(attribute(kind, entry[kind]) for kind in (_ID, _ZONE) if kind in entry)


def stale(connection: Connection, serving: Mapping[Destination, Collection[str]]) -> bool:
    """Whether it leads to a destination in `serving` and is answered by none of its "ip:port"; as in `forget_udp`."""
    address, port = connection.destination
    held = (serving.get((address, port)), serving.get(("", port)))
    return any(ends is not None and connection.answers not in ends for ends in held)


def ports_of(serving: Mapping[Destination, Collection[str]]) -> frozenset[int]:
    """The ports of its destinations."""
    return frozenset(port for _, port in serving)


def _held(netfilter: Nfnetlink) -> bool:
    """Whether the namespace has any entry. To look for them takes 10 ms: those of all namespaces are in one table."""
    entries = attributes(netfilter.told(_GET_STATS)).get(_ENTRIES)
    return entries is None or int.from_bytes(entries, "big") > 0


def _udp(netfilter: Nfnetlink, family: Family, ports: Collection[int]) -> Iterator[Connection]:
    for data in netfilter.dump(_GET, FAMILIES[family], _wanted(ports)):
        entry = attributes(data)
        original = attributes(entry[_ORIGINAL])
        protocol = attributes(original[_PROTOCOL])
        if protocol[_NUMBER][0] != socket.IPPROTO_UDP:
            continue
        reply = attributes(entry[_REPLY])
        destination = _end(_addresses(original[_IP])[_DESTINATION[family]], protocol[_DESTINATION_PORT], family)
        source = _end(_addresses(reply[_IP])[_SOURCE[family]], attributes(reply[_PROTOCOL])[_SOURCE_PORT], family)
        yield Connection(destination, _text(source), entry)


def _wanted(ports: Collection[int]) -> bytes:
    """What the kernel is asked for: UDP, and the port where it is but one. A table may hold hundreds of thousands of
    entries, most of them TCP's, and of UDP those of tunnels."""
    of, by = attribute(_NUMBER, bytes([socket.IPPROTO_UDP])), _BY_PROTOCOL
    if len(ports) == 1:
        of += attribute(_DESTINATION_PORT, struct.pack("!H", *ports))
        by |= _BY_DESTINATION_PORT
    flags = attribute(_ORIGINAL_FLAGS, struct.pack("=I", by)) + attribute(_REPLY_FLAGS, struct.pack("=I", 0))
    said = attribute(_ORIGINAL, attribute(_PROTOCOL, of, nested=True), nested=True)
    return said + attribute(_FILTER, flags, nested=True)


@lru_cache(1024)
def _addresses(pair: bytes) -> Mapping[int, bytes]:
    """Of a client and a server, which may have thousands of connections."""
    return attributes(pair)


@lru_cache(1024)
def _text(end: Destination) -> str:
    return "[{}]:{}".format(*end) if ":" in end[0] else "{}:{}".format(*end)


@lru_cache(1024)
def _end(address: bytes, port: bytes, family: Family) -> Destination:
    return socket.inet_ntop(FAMILIES[family], address), int(struct.unpack("!H", port)[0])
