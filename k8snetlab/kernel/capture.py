"""Packets of several namespaces as they pass, in the order of their time: packet sockets that are read all the while.

`packets.Watch` looks at one probe and reads it afterwards; this goes on until somebody ends it. Waiting packets are in
the kernel's buffers, of a fixed size: what does not fit is dropped there and counted, so a busy link takes no memory.
Source: packet(7).
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import NamedTuple

from k8snetlab.errors import NotFoundError, UnsupportedError
from k8snetlab.kernel import netns, stamps

_ETH_P_ALL, _SO_RCVBUFFORCE = 0x0003, 33
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_OUTGOING = 4
_ETHERNET_TYPES = (1, 772)
"""ARPHRD_ETHER, ARPHRD_LOOPBACK."""
_BUFFER = 8 << 20
_BATCH, _PENDING = 256, 4096
_MARGIN = 10_000_000
"""Nanoseconds that a packet is kept, so that an earlier one of another socket can overtake it."""


class Seen(NamedTuple):
    """A packet at a device. `tap` is the number of what it was seen by; `length` its octets, of which `data` may hold
    fewer; `framed` tells whether `data` begins with an Ethernet header. `nanoseconds` since 1970."""

    nanoseconds: int
    tap: int
    device: str
    outgoing: bool
    framed: bool
    length: int
    data: bytes


class Capture:
    """Sees packets from its creation until `close`. `taps` are (namespace, device), "" for every device of the
    namespace.

    Raises NotFoundError for what does not exist, UnsupportedError without the right to look.
    """

    def __init__(self, taps: Sequence[tuple[str, str]], snaplen: int) -> None:
        self._buffer = bytearray(snaplen)
        self._poll = select.poll()
        self._taps: dict[int, _Tap] = {}
        self._numbered: list[_Tap] = []
        self._pending: list[Seen] = []
        self._dropped = 0
        try:
            for number, (namespace, device) in enumerate(taps):
                tap = _Tap(number, namespace, device)
                self._taps[tap.socket.fileno()] = tap
                self._numbered.append(tap)
                self._poll.register(tap.socket, select.POLLIN)
            stamps.begun()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for tap in self._taps.values():
            tap.socket.close()
        self._taps.clear()

    def also(self, fd: int, events: int = select.POLLIN) -> None:
        """Something else that ends the waiting of `read`: with `events` 0 only that its other end has gone."""
        self._poll.register(fd, events)

    def read(self, seconds: float) -> tuple[list[Seen], list[int]]:
        """Packets in the order of their time, waiting for some at most `seconds`; and what else is ready (`also`)."""
        ready = self._poll.poll((_MARGIN / 1e9 if self._pending else seconds) * 1000)
        horizon = time.time_ns() - _MARGIN
        readable = {fd for fd, _ in ready}
        for fd, tap in self._taps.items():
            tap.behind = fd in readable and (tap.pending >= _PENDING or self._drain(tap))
        horizon = min([horizon, *(tap.latest for tap in self._taps.values() if tap.behind)])
        return self._given(horizon), [fd for fd in readable if fd not in self._taps]

    def rest(self) -> list[Seen]:
        """What has come until now and was not given yet."""
        end = time.time_ns()
        for tap in self._taps.values():
            while self._drain(tap) and tap.latest < end:
                pass
        return self._given(end)

    def vanished(self) -> list[int]:
        """Closes the taps whose namespace was taken down, which would otherwise live on in them; their numbers."""
        gone = [(fd, tap) for fd, tap in self._taps.items() if not tap.alive()]
        for fd, tap in gone:
            self._poll.unregister(fd)
            self._dropped += tap.dropped()
            tap.socket.close()
            del self._taps[fd]
        return [tap.number for _, tap in gone]

    @property
    def open(self) -> bool:
        return bool(self._taps)

    def dropped(self) -> int:
        """Packets that came so quickly that the kernel had no room for them, until now."""
        self._dropped += sum(tap.dropped() for tap in self._taps.values())
        return self._dropped

    def _given(self, horizon: int) -> list[Seen]:
        self._pending.sort(key=lambda seen: seen.nanoseconds)
        late = next((n for n, seen in enumerate(self._pending) if seen.nanoseconds > horizon), len(self._pending))
        given, self._pending = self._pending[:late], self._pending[late:]
        for seen in given:
            self._numbered[seen.tap].pending -= 1
        return given

    def _drain(self, tap: _Tap) -> bool:
        """Reads a batch at most; whether there may be more."""
        for _ in range(_BATCH):
            try:
                size, ancillary, _, address = tap.socket.recvmsg_into([self._buffer], 64, socket.MSG_TRUNC)
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno != errno.ENETDOWN:  # the device went down, and may come up again
                    raise
                continue
            tap.latest = stamps.of(ancillary) or time.time_ns()
            data = bytes(memoryview(self._buffer)[:size])
            framed = address[3] in _ETHERNET_TYPES
            seen = Seen(tap.latest, tap.number, address[0] or "?", address[2] == _OUTGOING, framed, size, data)
            self._pending.append(seen)
            tap.pending += 1
        return True


class _Tap:
    """`latest` is the time of the newest packet read; `behind`: there may be more; `pending`: read and not given."""

    def __init__(self, number: int, namespace: str, device: str) -> None:
        self.number, self._namespace = number, namespace
        self._inode = netns.inode(namespace)
        self.latest, self.behind, self.pending = 0, False, 0
        try:
            with netns.inside(namespace):
                everything = 0 if device else socket.htons(_ETH_P_ALL)
                self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, everything)
        except PermissionError as error:
            raise UnsupportedError("packets can be captured by root only", "use sudo") from error
        try:
            self.socket.setblocking(False)
            stamps.ask(self.socket)
            with contextlib.suppress(PermissionError):
                self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            if device:
                self.socket.bind((device, _ETH_P_ALL))
        except OSError as error:
            self.socket.close()
            if error.errno == errno.ENODEV:
                known = ", ".join(devices(namespace))
                raise NotFoundError(f"{namespace} has no device {device!r}", f"its devices: {known}") from error
            raise

    def alive(self) -> bool:
        try:
            return netns.inode(self._namespace) == self._inode
        except NotFoundError:
            return False

    def dropped(self) -> int:
        """Since it was last asked."""
        return int(struct.unpack("=II", self.socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))[1])


def devices(namespace: str) -> list[str]:
    """The names of its devices."""
    with netns.inside(namespace):
        return [name for _, name in socket.if_nameindex()]
