"""The same rules in several namespaces: iptables writes them into one, the others get them as that kernel tells them.

Each node of a lab has the chain of a Service of a thousand endpoints. iptables-nft-restore takes 35 ms of a core to
write it; to read it back is 3 ms, to have the kernel take what it has told 7 (Linux 6.18). What is read back is what
iptables made of the text, so nothing here knows how a match is encoded.

Source: linux/netfilter/nf_tables.h. The kernel tells all of a rule but its protocol (NFTA_RULE_COMPAT), which the
text has, and its counters, which begin anew.
"""

from __future__ import annotations

import re
import struct
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Protocol

from k8snetlab.dataplane.rules import ChainKey, Family, RuleDelta, Rules
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import fault
from k8snetlab.kernel.iptables.counting import COUNTER
from k8snetlab.kernel.nfnetlink import FAMILIES, Nfnetlink, attribute, message

FEW = 200
"""Rules that are written for each namespace by itself: as quick as to look whether another one has them."""
MOST, LONG = 64 << 20, 60.0
"""Octets of copies that are kept in all, and for how many seconds: nodes want the same at about the same time. Ten
thousand endpoints are 10 MB, and a hundred nodes are some time about them."""
_SUBSYSTEM = 10
_NEW_CHAIN, _DELETE_CHAIN, _NEW_RULE, _GET_RULE, _DELETE_RULE = 3, 5, 6, 7, 8
_ACK, _CREATE, _APPEND = 0x4, 0x400, 0x800
_TABLE, _CHAIN, _CHAIN_NAME = 1, 2, 3
_EXPRESSIONS, _COMPAT, _USERDATA = 4, 5, 7
_COPIED = frozenset({_TABLE, _CHAIN, _EXPRESSIONS, _USERDATA})
_COMPAT_PROTOCOL, _COMPAT_FLAGS = 1, 2
_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "ipv6-icmp": 58, "sctp": 132}
_MATCHES = frozenset({"addrtype", "comment", "conntrack", "mark", "recent", "statistic", "tcp", "udp", "sctp"})
"""Those that mean the same in every namespace: not so `set`, which is held by a namespace's own number of it."""
_MATCH = re.compile(r"-m (\S+)")
_PROTOCOL = re.compile(r"(! )?-p (\S+)")
_ZERO = b"counter\0\x1c\0\x02\0\x0c\0\x01\0" + bytes(8) + b"\x0c\0\x02\0" + bytes(8)
_HEAD = struct.Struct("=HH").unpack_from


class Table(Protocol):
    """What of a namespace's iptables is needed."""

    namespace: str
    family: Family

    def generation(self) -> int: ...

    def take(self, messages: bytes) -> int: ...

    def alone_since(self, before: Hashable, transactions: int | None) -> Hashable | None: ...


class _Flight:
    """One delta: who comes first has it written, the others wait for what becomes of that."""

    def __init__(self) -> None:
        self.lock, self.began = threading.Lock(), time.monotonic()
        self.messages: bytes | None = None
        """What does the same elsewhere; b"" where nothing can."""


_lock = threading.Lock()
_flights: dict[Hashable, _Flight] = {}
"""Those that were begun last come last."""


def worth(delta: RuleDelta) -> bool:
    """Whether a delta is one that other namespaces may want as well, and long."""
    return not delta.hooks and sum(map(len, delta.write.values())) > FEW


def written(table: Table, delta: RuleDelta, restore: Callable[[], int | None]) -> int | None:
    """Carries a delta out by `restore`, or as it was carried out in another namespace just now; returns the number of
    transactions, None where that is not certain. Raises what `restore` raises."""
    flight = _flight((table.family, tuple(delta.write.items()), delta.delete))
    with flight.lock:
        if flight.messages is None:
            before = table.generation()
            count = restore()
            flight.messages = _told(table, delta)
            if table.alone_since(before, count) is None:
                flight.messages = b""  # it may be somebody else's that was told
            return count
    return 1 if flight.messages and _taken(table, flight.messages) else restore()


def _flight(key: Hashable) -> _Flight:
    with _lock:
        now, octets = time.monotonic(), 0
        for known, flight in reversed(list(_flights.items())):
            octets += len(flight.messages or b"")
            if octets > MOST or now - flight.began > LONG:
                del _flights[known]
        return _flights.setdefault(key, _Flight())


def _taken(table: Table, messages: bytes) -> bool:
    """Has it done as one transaction; False where the kernel refuses it, and has then done nothing."""
    fault.point()
    try:
        return not table.take(messages)
    except OSError:
        return False


def _told(table: Table, delta: RuleDelta) -> bytes:
    """The messages that carry a delta out, from what stands now that it is carried out."""
    try:
        with Nfnetlink(table.namespace) as netfilter:
            rules = [_rules(netfilter, table.family, key, rules) for key, rules in delta.write.items()]
    except (K8sNetLabError, OSError):
        return b""
    if not all(len(some) or not wanted for some, wanted in zip(rules, delta.write.values(), strict=True)):
        return b""
    family = FAMILIES[table.family]
    return b"".join(
        (
            *_each(_NEW_CHAIN, _CHAIN_NAME, delta.write, family, _CREATE),
            *_each(_DELETE_RULE, _CHAIN, (*delta.write, *delta.delete), family),
            *rules,
            *_each(_DELETE_CHAIN, _CHAIN_NAME, delta.delete, family),
        )
    )


def _each(kind: int, name: int, chains: Iterable[ChainKey], family: int, flags: int = 0) -> Iterator[bytes]:
    for key in chains:
        said = attribute(_TABLE, _packed(key.table)) + attribute(name, _packed(key.chain))
        yield message(_SUBSYSTEM << 8 | kind, said, family, flags, sequence=2)


def _rules(netfilter: Nfnetlink, family: Family, key: ChainKey, wanted: Rules) -> bytes:
    """The messages that add a chain's rules, b"" where that is not certain."""
    if not {name for rule in wanted for name in _MATCH.findall(rule)} <= _MATCHES:
        return b""
    asked = attribute(_TABLE, _packed(key.table)) + attribute(_CHAIN, _packed(key.chain))
    told = list(netfilter.dump(_SUBSYSTEM << 8 | _GET_RULE, FAMILIES[family], asked))
    protocols = [_protocol(rule) for rule in wanted]
    if len(told) != len(wanted) or None in protocols:
        return b""
    kind, flags, number = _SUBSYSTEM << 8 | _NEW_RULE, _CREATE | _APPEND, FAMILIES[family]
    packed = (
        message(kind, _copied(one) + (protocol or b""), number, flags, sequence=2)
        for one, protocol in zip(told, protocols, strict=True)
    )
    messages, counters = COUNTER.subn(_ZERO, b"".join(packed))
    return messages if counters == len(wanted) else b""


def _copied(rule: bytes) -> bytes:
    """The attributes of a rule that another one has as well: not its number and place."""
    parts, at = [], 0
    while at < len(rule):
        length, kind = _HEAD(rule, at)
        end = at + (length + 3 & ~3)
        if kind & 0x3FFF in _COPIED:
            parts.append(rule[at:end])
        at = end
    return b"".join(parts)


def _protocol(rule: str) -> bytes | None:
    """What a rule says of its protocol, b"" where nothing; None where that is not known."""
    if " -p " not in f" {rule}":
        return b""
    found = _PROTOCOL.findall(rule)
    if len(found) != 1 or found[0][1] not in _PROTOCOLS:
        return None
    inverted, name = found[0]
    flags = 2 if inverted else 0
    numbers = attribute(_COMPAT_PROTOCOL, struct.pack(">I", _PROTOCOLS[name])) + attribute(
        _COMPAT_FLAGS, struct.pack(">I", flags)
    )
    return attribute(_COMPAT, numbers, nested=True)


def _packed(name: str) -> bytes:
    return name.encode() + b"\0"
