"""Hear when something in a namespace changes: a netlink multicast socket opened in it."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
import threading
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Literal, NamedTuple

from k8snetlab.dataplane.operations import ItemOperation, Operation
from k8snetlab.dataplane.resolution import Resolution, packed
from k8snetlab.dataplane.routing import FdbEntry
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import filter, netns
from k8snetlab.kernel.devices import Shapes, parsed, shapes
from k8snetlab.kernel.messages import (
    AF_BRIDGE,
    BY_DAEMONS,
    HEADER,
    IFA_ADDRESS,
    IFA_BROADCAST,
    IFA_LOCAL,
    IFA_PROTO,
    NDA_DST,
    NDA_LLADDR,
    NLM_F_REPLACE,
    NUD,
    RT_TABLE_MAIN,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELNEIGH,
    RTM_DELROUTE,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
    RTN_UNICAST,
    RTPROT_KERNEL,
    RTPROT_RA,
    NetlinkRequest,
    ifaddrmsg,
    ifinfomsg,
    ndmsg,
)
from k8snetlab.kernel.netlink import Netlink, attributes, index, split

Kind = Literal["link", "address", "route", "learned", "neighbour"]
"""Learned are routes of routing daemons that came or went beside all others."""
_TOLD = frozenset((RTM_NEWROUTE, RTM_DELROUTE))
"""Of these the kernel says by which port they were asked for (so it does of neighbours); of links as of Linux 6."""
EVERYTHING: frozenset[Kind] = frozenset(("link", "address", "route", "neighbour"))

_KINDS: dict[int, Kind] = {
    RTM_NEWLINK: "link",
    RTM_DELLINK: "link",
    RTM_NEWADDR: "address",
    RTM_DELADDR: "address",
    RTM_NEWROUTE: "route",
    RTM_DELROUTE: "route",
    RTM_NEWNEIGH: "neighbour",
    RTM_DELNEIGH: "neighbour",
}
_GROUPS = sum(1 << group - 1 for group in (1, 3, 5, 7, 9, 11))
"""RTNLGRP_ LINK, NEIGH (with forwarding entries), IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE."""
_NDMSG, _RTMSG, _IFADDRMSG = struct.Struct("=B3xiHBB"), struct.Struct("=8BI"), struct.Struct("=4BI")


CROWD = 1100
"""Sockets that hear of changes: beyond them a new one begins later. For each change in any namespace the kernel goes
through all of them, 70 ns each, and a pod that comes is some 25 changes."""
_counting = threading.Lock()
_hearing = 0
"""How many there are in this process."""


class Watch(NamedTuple):
    """An open notification socket in a namespace, the namespace's `netns.number`, and the devices and IPv6 addresses as
    they were when it began; `hears`: it has begun."""

    socket: socket.socket
    number: int
    links: Shapes
    addresses: frozenset[bytes]
    hears: bool = True


def crowded(pods: int) -> bool:
    """Whether so many are heard of, or there are to be so many pods, that others had better begin later: each that
    comes is paid for by all that hear of it."""
    return max(_hearing, pods) >= CROWD


def watch(netlink: Netlink | None = None, hears: bool = True) -> Watch:
    """Begins in the calling thread's namespace, or, unless it `hears`, once it is told to; where `netlink` is open
    there too, what it tells of devices is known, and no change. So it is of IPv6 addresses, of which the kernel tells
    again once the carrier has come."""
    sock = adopted(None)
    if hears:
        sock.bind((0, _GROUPS))
    if netlink is None or not hears:
        return Watch(sock, netns.number(""), {}, frozenset(), hears)
    links = (parsed(message[HEADER.size :]) for message in netlink.dump(NetlinkRequest(RTM_GETLINK, 0, ifinfomsg())))
    return Watch(sock, netns.number(""), dict(one for link in links for one in shapes(*link)), _held(netlink))


def _held(netlink: Netlink) -> frozenset[bytes]:
    """The IPv6 addresses."""
    dumped = netlink.dump(NetlinkRequest(RTM_GETADDR, 0, ifaddrmsg(socket.AF_INET6)))
    return frozenset(_address(message[HEADER.size :]) for message in dumped)


def adopted(descriptor: int | None) -> socket.socket:
    """The socket of a `Watch`, of a descriptor that came from another process, or a new one."""
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0, descriptor)


class Monitor:
    """Wakes whoever waits on `fileno()`; `drain` says what kinds of things changed since it was last asked.

    `arrived` counts the learned routes that came. Neighbours that the kernel resolves and forgets by itself are no
    change: only permanent entries count. Nor are routes and neighbours that were asked for by `netlink`, nor forwarding
    entries that were said to be about to be, nor devices of which only is told what was known.
    Raises NotFoundError when there is no such namespace.
    """

    def __init__(self, namespace: str, begun: Watch | None = None) -> None:
        """`begun` in a namespace that has just been made, and has no neighbours."""
        if begun is None:
            with netns.inside(namespace):
                self._socket, self.number, self._links, known, self.hears = watch()
            filter.without_passing_neighbours(self._socket, ())
        else:
            self._socket, self.number, self._links, known, self.hears = begun
        self._outdated = False
        """Whether `_links` may lack what was told since one of them was another one."""
        self._addresses = set(known)
        self._open = threading.Lock()
        """Held while the socket is read or closed: the number of a closed one may be another thread's next."""
        self._namespace = namespace
        self._permanent: set[tuple[int, int, bytes]] = set()
        self._hushed: frozenset[str] = frozenset()
        self._quiet: frozenset[int] = frozenset()
        """The ifindexes of those that are hushed."""
        self._resolutions: Sequence[Resolution] = ()
        self._answers: set[tuple[bytes, bytes]] = set()
        self._expected: set[tuple[bool, int, bytes, bytes]] = set()
        """Forwarding entries: whether it goes, ifindex, MAC, VTEP."""
        self._netlink: Netlink | None = None
        self._port = -1
        self._count(int(self.hears))
        self.arrived = 0
        if begun is None:
            try:
                self._learn_entries()
            except BaseException:
                self._socket.close()
                self._count(-1)
                raise

    @staticmethod
    def _count(more: int) -> None:
        global _hearing
        with _counting:
            _hearing += more

    def begin(self) -> None:
        """Hears from now on; what was changed before is to be read."""
        with self._open:
            if self.hears or self._socket.fileno() < 0:
                return
            self._socket.bind((0, _GROUPS))
            self.hears = True
            self._count(1)

    @property
    def netlink(self) -> Netlink:
        """A socket for requests, opened when it is first asked for. Raises NotFoundError."""
        if self._netlink is None:
            self._netlink = Netlink(self._namespace)
            self._port = self._netlink.port
        return self._netlink

    def index(self, device: str) -> int:
        """The ifindex of a device, 0 when there is none."""
        return index(self._socket, device)

    def hush(self, devices: frozenset[str], resolutions: Sequence[Resolution]) -> None:
        """On these devices entries come and go as misses are answered: only what is no such answer is a change now.

        That is a permanent neighbour, or a forwarding entry that differs from the `resolutions`.
        """
        if resolutions != self._resolutions:
            self._resolutions = resolutions
            self._answers = {(packed(r.lladdr), ip_address(r.dst).packed) for r in resolutions}
        if devices != self._hushed:
            self._hushed = devices
            self._filter()

    def expect(self, operations: Iterable[Operation]) -> None:
        """These are about to be asked for by `netlink`: of forwarding entries the kernel does not tell who did.

        What was expected before is so no longer.
        """
        steps = [step for step in operations if isinstance(step, ItemOperation)]
        entries = [(step.verb == "del", step.item) for step in steps if isinstance(step.item, FdbEntry)]
        indexes = {device: self.index(device) for device in {entry.dev for _, entry in entries}}
        self._expected = {
            (gone, indexes[entry.dev], packed(entry.lladdr), ip_address(entry.dst).packed) for gone, entry in entries
        }

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        with self._open:
            if self._socket.fileno() >= 0:
                self._count(-int(self.hears))
            self._socket.close()
        if self._netlink is not None:
            self._netlink.close()

    def waiting(self) -> bool:
        """Whether there is something that `drain` has not told yet."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def drain(self) -> frozenset[Kind]:
        """The kinds of what changed; empty when it was only noise, or when this is closed. When events were lost,
        everything changed."""
        with self._open:
            return self._drained() if self._socket.fileno() >= 0 else frozenset()

    def skip(self) -> None:
        """Lets go of what waits: all of it is about to be read."""
        self.drain()

    def learn(self, links: Shapes) -> None:
        """The devices are as they were read: to be told the same of them is no change."""
        self._links, self._outdated = links, False

    def _drained(self) -> frozenset[Kind]:
        changed: set[Kind] = set()
        lost = False
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                if self._hushed and "link" in changed:
                    self._filter()  # a device made anew has another ifindex
                if lost:
                    self._learn_anew()
                return frozenset(changed)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                changed |= EVERYTHING
                lost = True
                continue
            for number, flags, _, port, payload in split(data):
                if number in _KINDS and self._is_change(number, payload, own=port == self._port):
                    changed.add(self._kind(number, flags, payload))

    def _kind(self, number: int, flags: int, payload: bytes) -> Kind:
        """What was put in the place of another route may have taken anybody's."""
        kind = _KINDS[number]
        if kind != "route" or flags & NLM_F_REPLACE or _RTMSG.unpack_from(payload)[5] not in BY_DAEMONS:
            return kind
        self.arrived += number == RTM_NEWROUTE
        return "learned"

    def _is_change(self, kind: int, payload: bytes, own: bool) -> bool:
        """`own`: asked for by `netlink`."""
        if kind in (RTM_NEWNEIGH, RTM_DELNEIGH):
            return self._note(payload, gone=kind == RTM_DELNEIGH) and not own
        if kind == RTM_NEWLINK:
            return not self._is_known(payload)
        if kind in (RTM_NEWADDR, RTM_DELADDR):
            return self._is_news(payload, gone=kind == RTM_DELADDR)
        return kind not in _TOLD or not (own or _follows(kind, payload))

    def _is_known(self, payload: bytes) -> bool:
        """Once one is not, nor are those that follow, until `learn`: many come at once, and the first is reason enough
        to read all of them."""
        if self._outdated:
            return False
        known = True
        for told, shape in shapes(*parsed(payload)):
            known = known and self._links.get(told) == shape
            self._links[told] = shape
        self._outdated = not known
        return known

    def _is_news(self, payload: bytes, gone: bool) -> bool:
        """Whether an address came or went, and not only its state. One that the kernel gives or takes by itself counts
        only as the first or the last of IPv6: that was turned on or off."""
        address, had_six = _address(payload), self._has_six()
        known = address in self._addresses
        (self._addresses.discard if gone else self._addresses.add)(address)
        return (gone or not known) and (not _is_of_kernel(payload) or had_six != self._has_six())

    def _has_six(self) -> bool:
        return any(address[0] == socket.AF_INET6 for address in self._addresses)

    def _learn_entries(self) -> None:
        """What is there of that which is heard of again, or only when it goes. Raises NotFoundError, KernelError."""
        with Netlink(self._namespace) as asker:
            self._addresses |= _held(asker)
            for family in (0, AF_BRIDGE):
                for message in asker.dump(NetlinkRequest(RTM_GETNEIGH, 0, ndmsg(family))):
                    self._note(message[HEADER.size :])

    def _learn_anew(self) -> None:
        self._links.clear()
        self._addresses.clear()
        self._permanent.clear()
        with contextlib.suppress(K8sNetLabError, OSError):  # it is gone
            self._learn_entries()

    def _filter(self) -> None:
        self._quiet = frozenset(index(self._socket, device) for device in self._hushed) - {0}
        filter.without_passing_neighbours(self._socket, sorted(self._quiet))

    def _note(self, payload: bytes, gone: bool = False) -> bool:
        """Keep track of the permanent entries; whether one came, changed or went."""
        family, index, state, _, _ = _NDMSG.unpack_from(payload)
        found = attributes(payload[_NDMSG.size :])
        if family == AF_BRIDGE and index in self._quiet:
            entry = (found.get(NDA_LLADDR, b""), found.get(NDA_DST, b""))
            return not gone and entry not in self._answers
        name = NDA_LLADDR if family not in (socket.AF_INET, socket.AF_INET6) else NDA_DST
        key = (family, index, found.get(name, b""))
        known = key in self._permanent
        if lasts := state & NUD["PERMANENT"] and not gone:
            self._permanent.add(key)
        else:
            self._permanent.discard(key)
        return bool(known or lasts) and not (family == AF_BRIDGE and self._was_expected(gone, index, found))

    def _was_expected(self, gone: bool, index: int, found: Mapping[int, bytes]) -> bool:
        entry = (gone, index, found.get(NDA_LLADDR, b""), found.get(NDA_DST, b""))
        if entry not in self._expected:
            return False
        self._expected.discard(entry)
        return True


def _address(payload: bytes) -> bytes:
    """What tells it from others: its device, network, and broadcast address; what it is in itself of both families."""
    family, length, _, _, index = _IFADDRMSG.unpack_from(payload)
    found = attributes(payload[_IFADDRMSG.size :])
    kinds = (IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST)
    return _IFADDRMSG.pack(family, length, 0, 0, index) + b"".join(found.get(kind, b"-") for kind in kinds)


def _is_of_kernel(payload: bytes) -> bool:
    """Whether an address is one that the kernel gives by itself: a link-local one."""
    found = attributes(payload[_IFADDRMSG.size :])
    return IFA_PROTO in found or found.get(IFA_ADDRESS, b"").startswith(b"\xfe\x80")


def _follows(kind: int, payload: bytes) -> bool:
    """Whether a route only follows from an address or a device. That of an address's network is missed when it goes.

    The kernel's own of other types (local, broadcast, anycast, multicast) are in table local. One in the main table is
    somebody's, and what it was put in the place of is not told to have gone.
    """
    _, _, _, _, table, proto, _, type_, _ = _RTMSG.unpack_from(payload)
    by_kernel = kind == RTM_NEWROUTE and type_ == RTN_UNICAST and proto in (RTPROT_KERNEL, RTPROT_RA)
    return table != RT_TABLE_MAIN or by_kernel
