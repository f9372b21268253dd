"""Capabilities of this process (capabilities(7)): which it holds, and giving up those it does not need."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

BITS = {
    "CAP_CHOWN": 0,
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_KILL": 5,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_SYS_MODULE": 16,
    "CAP_SYS_CHROOT": 18,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
}
"""Those that anything here needs (linux/capability.h): files' groups, a checkout below somebody's home, processes,
sockets, links and rules, br_netfilter, mount namespaces, and the namespaces of processes."""
_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def held() -> int:
    """The effective set of this thread, as a mask."""
    return int(Path("/proc/thread-self/status").read_text().partition("CapEff:")[2].split()[0], 16)


def missing(names: Iterable[str]) -> list[str]:
    mask = held()
    return [name for name in names if not mask >> BITS[name] & 1]


def keep_only(names: Iterable[str]) -> None:
    """Gives up all others, for this thread and those that it starts. A program that root executes has them all again.

    Raises OSError.
    """
    mask = held() & sum(1 << BITS[name] for name in names)
    _set(mask, mask)


def raise_permitted() -> None:
    """Makes all effective that this thread is permitted: after a change of user with PR_SET_KEEPCAPS none is. Raises
    OSError."""
    mask = int(Path("/proc/thread-self/status").read_text().partition("CapPrm:")[2].split()[0], 16)
    _set(mask, mask)


def _set(effective: int, permitted: int) -> None:
    header = _Header(_VERSION_3, 0)
    halves = [(effective >> shift & 0xFFFFFFFF, permitted >> shift & 0xFFFFFFFF) for shift in (0, 32)]
    data = (_Data * 2)(*(_Data(*half, 0) for half in halves))
    if _libc.capset(ctypes.byref(header), data):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
