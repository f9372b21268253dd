"""Hear when something in a namespace changes: a netlink multicast socket opened in it."""

from __future__ import annotations

import errno
import select
import socket
import struct
import threading
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Literal

from k8snetlab.dataplane.operations import ItemOperation, Operation
from k8snetlab.dataplane.resolution import Resolution, packed
from k8snetlab.dataplane.routing import FdbEntry
from k8snetlab.kernel import filter, netns
from k8snetlab.kernel.messages import (
    AF_BRIDGE,
    NUD,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELNEIGH,
    RTM_DELROUTE,
    RTM_GETNEIGH,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
    NetlinkRequest,
    ndmsg,
)
from k8snetlab.kernel.netlink import Netlink, attributes, index, split

Kind = Literal["link", "address", "route", "neighbour"]
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
}
_GROUPS = sum(1 << group - 1 for group in (1, 3, 5, 7, 9, 11))
"""RTNLGRP_ LINK, NEIGH (with forwarding entries), IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE."""
_NDMSG = struct.Struct("=B3xiHBB")
_NDA_DST, _NDA_LLADDR = 1, 2


class Monitor:
    """Wakes whoever waits on `fileno()`; `drain` says what kinds of things changed since it was last asked.

    Neighbours that the kernel resolves and forgets by itself are no change: only permanent entries count. Nor are
    routes and neighbours that were asked for by `netlink`, nor forwarding entries that were said to be about to be.
    Raises NotFoundError when there is no such namespace.
    """

    def __init__(self, namespace: str) -> None:
        with netns.inside(namespace):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
            self.number = netns.number("")
            """Of the namespace that is watched, whatever its name is given to meanwhile (`netns.number`)."""
        self._socket.bind((0, _GROUPS))
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
        self._filter()
        self.netlink = Netlink(namespace)
        self._port = self.netlink.port
        for family in (0, AF_BRIDGE):
            message = ndmsg()
            message["family"] = family
            for found in self.netlink.dump(NetlinkRequest(RTM_GETNEIGH, 0, message)):
                self._note(bytes(found.data[16:]))

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
        indexes = {device: self.netlink.index(device) for device in {entry.dev for _, entry in entries}}
        self._expected = {
            (gone, indexes[entry.dev], packed(entry.lladdr), ip_address(entry.dst).packed) for gone, entry in entries
        }

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        with self._open:
            self._socket.close()
        self.netlink.close()

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

    def _drained(self) -> frozenset[Kind]:
        changed: set[Kind] = set()
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                if self._hushed and "link" in changed:
                    self._filter()  # a device made anew has another ifindex
                return frozenset(changed)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                changed |= EVERYTHING
                continue
            for kind, _, _, port, payload in split(data):
                if kind in (RTM_NEWNEIGH, RTM_DELNEIGH):
                    if self._note(payload, gone=kind == RTM_DELNEIGH) and port != self._port:
                        changed.add("neighbour")
                elif kind in _KINDS and (port != self._port or kind not in _TOLD):
                    changed.add(_KINDS[kind])

    def _filter(self) -> None:
        self._quiet = frozenset(index(self._socket, device) for device in self._hushed) - {0}
        filter.without_passing_neighbours(self._socket, sorted(self._quiet))

    def _note(self, payload: bytes, gone: bool = False) -> bool:
        """Keep track of the permanent entries; whether one came, changed or went."""
        family, index, state, _, _ = _NDMSG.unpack_from(payload)
        found = attributes(payload[_NDMSG.size :])
        if family == AF_BRIDGE and index in self._quiet:
            entry = (found.get(_NDA_LLADDR, b""), found.get(_NDA_DST, b""))
            return not gone and entry not in self._answers
        name = _NDA_LLADDR if family not in (socket.AF_INET, socket.AF_INET6) else _NDA_DST
        key = (family, index, found.get(name, b""))
        known = key in self._permanent
        if lasts := state & NUD["PERMANENT"] and not gone:
            self._permanent.add(key)
        else:
            self._permanent.discard(key)
        return bool(known or lasts) and not (family == AF_BRIDGE and self._was_expected(gone, index, found))

    def _was_expected(self, gone: bool, index: int, found: Mapping[int, bytes]) -> bool:
        entry = (gone, index, found.get(_NDA_LLADDR, b""), found.get(_NDA_DST, b""))
        if entry not in self._expected:
            return False
        self._expected.discard(entry)
        return True
