"""The system calls of namespaces(7) that Python 3.11's os module lacks."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWNET = 0x40000000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def setns(fd: int, kind: int) -> None:
    """Move the calling thread into the namespace that `fd` is open on. Raises OSError."""
    _checked(_libc.setns(fd, kind), "setns")


def unshare(flags: int) -> None:
    """Give the calling thread namespaces of its own. Raises OSError."""
    _checked(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str, flags: int) -> None:
    """mount(2) without data. Raises OSError."""
    _checked(_libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None), target)


def umount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2). Raises OSError."""
    _checked(_libc.umount2(target.encode(), flags), target)


def getsockopt(fd: int, level: int, option: int, given: bytes, size: int) -> bytearray:
    """getsockopt(2) that also hands something in, and takes more than the 1,024 bytes of the socket module."""
    buffer = bytearray(size)
    buffer[: len(given)] = given
    room = (ctypes.c_char * size).from_buffer(buffer)
    length = ctypes.c_uint32(size)
    _checked(_libc.getsockopt(fd, level, option, room, ctypes.byref(length)), "getsockopt")
    del room
    return buffer[: length.value]


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
