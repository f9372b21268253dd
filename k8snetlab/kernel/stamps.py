"""The time that the kernel gives a packet (SO_TIMESTAMPNS, socket(7)), for those who listen to several sockets."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterable

SO_TIMESTAMPNS = 35
_STAMP_TIMEOUT, _PAUSE = 0.1, 0.0002


def ask(listening: socket.socket) -> None:
    """Has each of its packets come with its time."""
    listening.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)


def of(ancillary: Iterable[tuple[int, int, bytes]]) -> int:
    """Nanoseconds since 1970, from what recvmsg gave with a packet; 0 where there is none."""
    for _, kind, data in ancillary:
        if kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("=qq", data[:16])
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return 0


def begun() -> None:
    """Waits until packets get their time when they pass.

    After the first socket that asks the kernel takes some milliseconds to begin (net_enable_timestamp defers it);
    until then a packet gets the time at which it is read, and packets of several sockets come out in the wrong order.
    A datagram over this process's own loopback, read a moment after it was sent, tells.
    """
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        ask(own)
        own.bind(("127.0.0.1", 0))
        own.connect(own.getsockname())
        own.settimeout(_STAMP_TIMEOUT)
        deadline = time.monotonic() + _STAMP_TIMEOUT
        while time.monotonic() < deadline:
            own.send(b"")
            time.sleep(_PAUSE)
            read = time.time_ns()
            if of(own.recvmsg(1, 64)[1]) < read:
                return
