"""Filters in the kernel (classic BPF) for netlink sockets: what a program refuses never wakes the process.

Numbers in a message are in the machine's byte order, BPF loads them as big-endian: constants are turned around here.
Source: Documentation/networking/filter.rst; offsets are those of struct nlmsghdr and struct ndmsg.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence

from k8snetlab.kernel.messages import AF_BRIDGE, NUD, RTM_DELNEIGH, RTM_GETNEIGH, RTM_NEWNEIGH

_SO_ATTACH_FILTER = 26
_LOAD32, _LOAD16, _LOAD8, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x28, 0x30, 0x15, 0x45, 0x06
_TYPE, _FAMILY, _IFINDEX, _STATE = 4, 16, 20, 24
_ACCEPT, _DROP = (_RETURN, 0, 0, 0xFFFFFFFF), (_RETURN, 0, 0, 0)

Instruction = tuple[int, int, int, int]
"""Code, instructions to skip when true, to skip when false, constant."""


def only_questions(sock: socket.socket) -> None:
    """Lets through RTM_GETNEIGH alone of all messages about neighbours."""
    _attach(sock, [(_LOAD16, 0, 0, _TYPE), (_EQUAL, 0, 1, socket.htons(RTM_GETNEIGH)), _ACCEPT, _DROP])


def without_passing_neighbours(sock: socket.socket, devices: Sequence[int]) -> None:
    """Everything but RTM_GETNEIGH and, on these devices (ifindexes, 100 at most), neighbours that are not permanent."""
    count = len(devices)
    accept, drop = 7 + count, 11 + count

    def skip(here: int, to: int) -> int:
        return to - here - 1

    _attach(
        sock,
        [
            (_LOAD16, 0, 0, _TYPE),
            (_EQUAL, skip(1, drop), 0, socket.htons(RTM_GETNEIGH)),
            (_EQUAL, 1, 0, socket.htons(RTM_NEWNEIGH)),
            (_EQUAL, 0, skip(3, accept), socket.htons(RTM_DELNEIGH)),
            (_LOAD8, 0, 0, _FAMILY),
            (_EQUAL, skip(5, accept), 0, AF_BRIDGE),
            (_LOAD32, 0, 0, _IFINDEX),
            *((_EQUAL, skip(7 + n, accept + 1), 0, socket.htonl(device)) for n, device in enumerate(devices)),
            _ACCEPT,
            (_LOAD16, 0, 0, _STATE),
            (_ANY_BIT, 0, 1, socket.htons(NUD["PERMANENT"])),
            _ACCEPT,
            _DROP,
        ],
    )


def _attach(sock: socket.socket, program: Sequence[Instruction]) -> None:
    """Raises OSError (EINVAL) for a program that the kernel finds wrong."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *instruction) for instruction in program))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(code)))
