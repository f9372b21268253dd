"""The ipsets of a namespace, by netlink: read, and brought to what is wanted.

Protocol: linux/netfilter/ipset/ip_set.h (protocol 6, which all kernels since 2.6.39 speak); ipset(8).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address

from k8snetlab.dataplane.families import network
from k8snetlab.dataplane.names import TEMPORARY_SET
from k8snetlab.dataplane.sets import NOMATCH, IPSet, written
from k8snetlab.errors import KernelError
from k8snetlab.kernel import fault
from k8snetlab.kernel.netlink import attributes
from k8snetlab.kernel.nfnetlink import FAMILIES, Nfnetlink, attribute

_CREATE, _DESTROY, _FLUSH, _SWAP, _LIST, _ADD, _DEL = (6 << 8 | n for n in (2, 3, 4, 6, 7, 9, 10))
_PROTOCOL, _NAME, _TYPE, _REVISION, _FAMILY, _FLAGS, _DATA, _ADT, _LINE = range(1, 10)
_IP, _CIDR, _PORT, _TIMEOUT, _PROTO, _ENTRY_FLAGS = 1, 3, 4, 6, 7, 8
_VERSION = attribute(_PROTOCOL, b"\6")
_NESTED, _NET_ORDER = 0x8000, 0x4000
_NOMATCH = 4
_EXCLUSIVE = 0x200
_AT_ONCE = 1000
"""Entries of one message: an attribute is at most 64 kB."""
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132, "udplite": 136}
_ERRNOS = {
    4097: "this kernel has another protocol of ipset",
    4098: "there is no such type of set",
    4099: "the most sets that there can be are there",
    4100: "a rule uses it",
    4101: "there is one of that name already",
    4102: "the two are of different types",
    4352: "the set is full",
}
"""Source: enum ipset_errno, IPSET_ERR_HASH_FULL."""


def held(namespace: str, prefixes: tuple[str, ...]) -> dict[str, IPSet]:
    """The sets whose names begin so, with all entries; none where the kernel has no ipsets. Raises KernelError."""
    found: dict[str, tuple[str, str, set[str]]] = {}
    with Nfnetlink(namespace) as netfilter:
        try:
            for data in netfilter.dump(_LIST, attributes=_VERSION):
                given = attributes(data)
                name = _text(given, _NAME)
                if not name.startswith(prefixes):
                    continue
                family = "ipv6" if given.get(_FAMILY, b"\2")[0] == socket.AF_INET6 else "ipv4"
                _, _, entries = found.setdefault(name, (_text(given, _TYPE), family, set()))
                entries.update(_entries(given.get(_ADT, b"")))
        except KernelError:
            if found:
                raise
            return {}
    return {
        name: IPSet(name, type_, family, frozenset(entries))  # type: ignore[arg-type]
        for name, (type_, family, entries) in found.items()
    }


def bring(namespace: str, wanted: Iterable[IPSet], standing: Mapping[str, IPSet]) -> dict[str, KernelError]:
    """Makes each of `wanted` hold its entries, where `standing` are the sets that are there.

    One entry that comes or goes is put in or taken out; more are put into another set, and the two change places, so
    that no packet sees a half of it. Returns what was refused, by the set's name: that set is as it was.
    """
    refused: dict[str, KernelError] = {}
    with Nfnetlink(namespace) as netfilter:
        new: list[IPSet] = []
        for one in wanted:
            before = standing.get(one.name)
            if before is None or (before.type, before.family) != (one.type, one.family):
                new.append(one)
            elif before.entries != one.entries and (number := _change(netfilter, before, one)):
                refused[one.name] = _failure(one, number)
        refused |= {one.name: _failure(one, number) for one, number in _make(netfilter, new, standing)}
    return refused


def destroy(namespace: str, names: Iterable[str]) -> list[str]:
    """Those that are gone now; one that a rule uses stays."""
    with Nfnetlink(namespace) as netfilter:
        names = list(names)
        fault.point()
        answers = netfilter.many([(_DESTROY, _named(name), 0, 0) for name in names])
        return [name for name, number in zip(names, answers, strict=True) if number in (0, errno.ENOENT)]


def _make(netfilter: Nfnetlink, new: list[IPSet], standing: Mapping[str, IPSet]) -> Iterator[tuple[IPSet, int]]:
    """Sets that no rule uses yet; those that are refused, with the errno."""
    if not new:
        return
    fault.point()
    messages, owners = [], []
    for one in new:
        if one.name in standing:
            messages.append((_DESTROY, _named(one.name), 0, 0))
            owners.append(one)
        for message in (_creation(one, one.name), *_puttings(_ADD, one, one.name, one.entries)):
            messages.append(message)
            owners.append(one)
    told: set[str] = set()
    for one, number in zip(owners, netfilter.many(messages), strict=True):
        if number and one.name not in told:
            told.add(one.name)
            yield one, number


def _change(netfilter: Nfnetlink, before: IPSet, after: IPSet) -> int:
    more, less = after.entries - before.entries, before.entries - after.entries
    fault.point()
    if len(more) + len(less) == 1:
        message = next(_puttings(_ADD if more else _DEL, after, after.name, more or less))
        return netfilter.many([message])[0]
    name = f"{TEMPORARY_SET}{'6' if after.family == 'ipv6' else ''}"
    netfilter.many([(_DESTROY, _named(name), 0, 0)])
    messages = [_creation(after, name), *_puttings(_ADD, after, name, after.entries)]
    answers = netfilter.many(messages)
    number = next((answer for answer in answers if answer), 0)
    if not number:
        fault.point()
        swap = _VERSION + attribute(_NAME, _bytes(name)) + attribute(_TYPE, _bytes(after.name))
        (number,) = netfilter.many([(_SWAP, swap, 0, 0)])
    netfilter.many([(_DESTROY, _named(name), 0, 0)])
    return number


# --- messages ---------------------------------------------------------------------------------------------------------


def _creation(one: IPSet, name: str) -> tuple[int, bytes, int, int]:
    family = FAMILIES[one.family]
    options = attribute(_TIMEOUT | _NET_ORDER, bytes(4))
    said = (
        _VERSION
        + attribute(_NAME, _bytes(name))
        + attribute(_TYPE, _bytes(one.type))
        + attribute(_REVISION, b"\3")
        + attribute(_FAMILY, bytes([family]))
        + attribute(_DATA, options, nested=True)
    )
    return _CREATE, said, family, _EXCLUSIVE


def _puttings(kind: int, one: IPSet, name: str, entries: Iterable[str]) -> Iterator[tuple[int, bytes, int, int]]:
    packed = [_entry(entry, line) for line, entry in enumerate(sorted(entries), 1)]
    for start in range(0, len(packed), _AT_ONCE):
        data = b"".join(packed[start : start + _AT_ONCE])
        said = _named(name) + attribute(_LINE, struct.pack("=I", 0)) + attribute(_ADT, data, nested=True)
        yield kind, said, FAMILIES[one.family], 0


def _entry(text: str, line: int) -> bytes:
    whole, nomatch, _ = text.partition(NOMATCH)
    cidr, _, port = whole.partition(",")
    address, slash, _ = cidr.partition("/")
    octets = ip_address(address).packed
    inner = attribute((1 if len(octets) == 4 else 2) | _NET_ORDER, octets)
    data = attribute(_IP, inner, nested=True)
    if slash:
        data += attribute(_CIDR, bytes([network(cidr).prefixlen]))
    if port:
        protocol, _, number = port.partition(":")
        data += attribute(_PORT | _NET_ORDER, struct.pack("!H", int(number)))
        data += attribute(_PROTO, bytes([_PROTOCOLS[protocol]]))
    if nomatch:
        data += attribute(_ENTRY_FLAGS | _NET_ORDER, struct.pack("!I", _NOMATCH))
    return attribute(_DATA, data + attribute(_LINE | _NET_ORDER, struct.pack("!I", line)), nested=True)


def _entries(data: bytes) -> Iterator[str]:
    """Of an ADT attribute: entries that follow each other under one number."""
    position = 0
    while position + 4 <= len(data):
        length, _ = struct.unpack_from("=HH", data, position)
        given = attributes(data[position + 4 : position + length])
        octets = next(iter(attributes(given[_IP]).values()))
        cidr = f"{ip_address(octets)}/{given[_CIDR][0]}" if _CIDR in given else str(ip_address(octets))
        flags = int.from_bytes(given.get(_ENTRY_FLAGS, b""), "big")
        port = f",{_protocol(given[_PROTO][0])}:{int.from_bytes(given[_PORT], 'big')}" if _PORT in given else ""
        yield written(cidr) + port + (NOMATCH if flags & _NOMATCH else "")
        position += length + -length % 4


def _protocol(number: int) -> str:
    return next((name for name, one in _PROTOCOLS.items() if one == number), str(number))


def _named(name: str) -> bytes:
    return _VERSION + attribute(_NAME, _bytes(name))


def _bytes(text: str) -> bytes:
    return text.encode() + b"\0"


def _text(given: Mapping[int, bytes], kind: int) -> str:
    return given.get(kind, b"").rstrip(b"\0").decode(errors="replace")


def _failure(one: IPSet, number: int) -> KernelError:
    why = _ERRNOS.get(number) or os.strerror(number)
    size = f"{len(one.entries)} entr{'y' if len(one.entries) == 1 else 'ies'}"
    return KernelError(
        f"ipset {one.name} ({one.type}, {size}) is refused: {why}",
        "`ipset list` in the node's namespace shows what is there",
        f"ipset create {one.name} {one.type} family {'inet6' if one.family == 'ipv6' else 'inet'} timeout 0",
    )
