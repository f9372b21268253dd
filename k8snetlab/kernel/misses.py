"""The kernel asks user space where an address is: the misses of a VXLAN device, and what they are answered with.

A miss is an RTM_GETNEIGH that the kernel sends to RTNLGRP_NEIGH. L3 miss: NDA_DST, from an ARP or NDP that is to be
solved by user space (sysctl app_solicit); a re-probe of an entry that has grown old brings its NDA_LLADDR too. L2 miss:
NDA_LLADDR without NDA_DST, family AF_INET, one per packet, from a device made with l2miss.
Sources: net/core/neighbour.c (neigh_app_ns), drivers/net/vxlan (vxlan_fdb_miss).

Encoded and decoded with struct, because the first packet waits for the answer: 8 µs, with pyroute2 100 times that.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
from typing import Literal, NamedTuple

from k8snetlab.kernel import filter, netns
from k8snetlab.kernel.messages import (
    AF_BRIDGE,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
    NTF_SELF,
    NUD,
    RTM_DELNEIGH,
    RTM_GETNEIGH,
    RTM_NEWNEIGH,
    NetlinkRequest,
    ndmsg,
)
from k8snetlab.kernel.netlink import Netlink, attributes

_RTNLGRP_NEIGH = 3
_SO_RCVBUFFORCE = 33
_SIOCGIFNAME = 0x8910
_RECEIVE_BUFFER = 1 << 20
_HEADER = struct.Struct("=IHHII")
_NDMSG = struct.Struct("=BxxxiHBB")
_ERROR = struct.Struct("=i")
_PAYLOAD = _HEADER.size + _NDMSG.size
_NDA_DST, _NDA_LLADDR = 1, 2
_LLADDR = struct.pack("=HH", 10, _NDA_LLADDR) + b"%s\0\0"
_NEW = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE


class Miss(NamedTuple):
    """`address` is what is asked for: the 4 or 16 bytes of an IP address (L3), the 6 bytes of a MAC (L2).

    `state` is the entry's in words of `ip neigh`, "" for an L2 miss. `lladdr` is what an L3 entry had so far.
    """

    kind: Literal["L3", "L2"]
    ifindex: int
    address: bytes
    state: str
    lladdr: bytes = b""


class Misses:
    """Receives and answers the misses of one namespace. Its sockets stay there; use it from one thread at a time.

    One socket with NETLINK_LISTEN_ALL_NSID would receive from every namespace that has an id in its own, but each needs
    another one for the answers, and a flood in one node would overrun the buffer for all. It is no quicker: 12 µs from
    a packet to its answer, with 20 namespaces, either way.
    Raises NotFoundError when there is no such namespace.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self._names: dict[int, str] = {}
        with netns.inside(namespace):
            self._notifications = _socket()
            self._requests = _socket()
        self._dumps = Netlink(namespace)
        filter.only_questions(self._notifications)
        self._notifications.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        self._notifications.bind((0, 1 << _RTNLGRP_NEIGH - 1))
        self._requests.bind((0, 0))

    def fileno(self) -> int:
        """Readable when there is something to `receive`."""
        return self._notifications.fileno()

    def close(self) -> None:
        for sock in (self._notifications, self._requests, self._dumps):
            sock.close()

    def receive(self) -> Miss | None:
        """The next miss, None when there is none. Raises MissesLost when some were lost since the last one."""
        try:
            return decode(self._notifications.recv(1024))
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                raise MissesLost from None
            raise

    def entries(self) -> list[Miss]:
        """The neighbours of every device as L3 misses: what is waiting now (INCOMPLETE, PROBE), and all else.

        Raises KernelError.
        """
        found = (decode(raw) for raw in self._dumps.dump(NetlinkRequest(RTM_GETNEIGH, 0, ndmsg())))
        return [miss for miss in found if miss]

    def device(self, ifindex: int) -> str:
        """The name of the device, "" when it has gone; the name it had when it was first asked for."""
        if ifindex not in self._names:
            with contextlib.suppress(OSError):
                named = fcntl.ioctl(self._notifications, _SIOCGIFNAME, struct.pack("16si20x", b"", ifindex))
                self._names[ifindex] = named[:16].rstrip(b"\0").decode()
        return self._names.get(ifindex, "")

    def answer(self, miss: Miss, lladdr: bytes, dst: bytes) -> None:
        """Where it is: behind the VTEP with MAC `lladdr` at underlay address `dst` (4 or 16 bytes).

        The forwarding entry goes first: the packets that wait for the neighbour leave with it, and would be lost
        without. The neighbour is REACHABLE, so the kernel asks again when it has grown old. Raises OSError.
        """
        message = _fdb(miss.ifindex, lladdr, dst)
        if miss.kind == "L3":
            message += _neighbour(RTM_NEWNEIGH, _NEW, miss, NUD["REACHABLE"], _LLADDR % lladdr)
        self._requests.send(message)  # the kernel has acted when this returns

    def refusal(self) -> str:
        """Why the kernel has refused an answer since the last call, or ""; it does not acknowledge the answers that it
        takes."""
        reason = ""
        with contextlib.suppress(BlockingIOError):
            while said := self._requests.recv(1024):
                reason = reason or os.strerror(-_ERROR.unpack_from(said, _HEADER.size)[0])
        return reason

    def forget(self, misses: list[Miss]) -> None:
        """Delete the neighbours that are asked for; what waits for them is told that the host is unreachable."""
        for start in range(0, len(misses), 64):
            batch = misses[start : start + 64]
            self._requests.send(b"".join(_neighbour(RTM_DELNEIGH, NLM_F_REQUEST, miss, 0, b"") for miss in batch))
        self.refusal()  # one that has gone by itself is none the worse


class MissesLost(Exception):
    """The kernel asked more than the socket could hold: look at `entries` for what is still waiting."""


_STATES = {number: name for name, number in NUD.items()}


def _socket() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)


def decode(message: bytes) -> Miss | None:
    """The miss that an RTM_GETNEIGH (or the neighbour that an RTM_NEWNEIGH) is about; None for anything else."""
    if len(message) < _PAYLOAD or _HEADER.unpack_from(message)[1] not in (RTM_GETNEIGH, RTM_NEWNEIGH):
        return None
    family, index, state, _, _ = _NDMSG.unpack_from(message, _HEADER.size)
    found = attributes(message[_PAYLOAD:])
    lladdr = found.get(_NDA_LLADDR, b"")
    if address := found.get(_NDA_DST):
        return Miss("L3", index, address, _STATES.get(state, ""), lladdr) if family != AF_BRIDGE else None
    return Miss("L2", index, lladdr, "") if len(lladdr) == 6 else None


def _fdb(index: int, lladdr: bytes, dst: bytes) -> bytes:
    """bridge fdb replace LLADDR dev INDEX dst DST self permanent"""
    body = _NDMSG.pack(AF_BRIDGE, index, NUD["PERMANENT"], NTF_SELF, 0) + _LLADDR % lladdr + _dst(dst)
    return _HEADER.pack(_HEADER.size + len(body), RTM_NEWNEIGH, _NEW, 0, 0) + body


def _neighbour(kind: int, flags: int, miss: Miss, state: int, lladdr: bytes) -> bytes:
    """ip neigh replace ADDRESS lladdr … dev INDEX nud STATE, or its deletion"""
    family = socket.AF_INET if len(miss.address) == 4 else socket.AF_INET6
    body = _NDMSG.pack(family, miss.ifindex, state, 0, 0) + _dst(miss.address) + lladdr
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 0, 0) + body


def _dst(address: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(address), _NDA_DST) + address
