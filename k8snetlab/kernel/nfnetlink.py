"""netfilter's netlink: one socket in one namespace, messages as bytes.

Protocol: netlink(7); linux/netfilter/nfnetlink.h: each message begins with family, version and a resource id.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
from collections.abc import Iterator, Sequence

from k8snetlab.errors import KernelError
from k8snetlab.kernel import netns
from k8snetlab.kernel.netlink import split

FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
_NETLINK_NETFILTER = 12
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_BATCH_BEGIN, _BATCH_END = 16, 17
_HEADER = struct.Struct("=IHHII")
_GENERAL = struct.Struct("=BBH")
_ATTRIBUTE = struct.Struct("=HH")
_SO_SNDBUFFORCE, _SO_NETNS_COOKIE = 32, 71
_AT_ONCE = 16
"""Messages per send: a refusal comes with the message that it is of, and waits in the receive buffer."""


class Nfnetlink:
    """`kind` of a message is subsystem << 8 | message. Raises NotFoundError when there is no such namespace."""

    def __init__(self, namespace: str) -> None:
        with netns.inside(namespace):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        self._socket.bind((0, 0))

    def __enter__(self) -> Nfnetlink:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def cookie(self) -> int:
        """The namespace's number, as `NftIptables.cookie`."""
        try:
            return int.from_bytes(self._socket.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), sys.byteorder)
        except OSError:
            return 0

    def request(self, kind: int, attributes: bytes = b"", family: int = socket.AF_UNSPEC, flags: int = 0) -> int:
        """Has it done; returns 0 or the errno with which the kernel refuses."""
        self._send(kind, attributes, family, flags | _ACK)
        return next(self._answers(), (0, b""))[0]

    def told(self, kind: int) -> bytes:
        """The attributes of the one message that answers; none where the kernel refuses."""
        self._send(kind, b"", socket.AF_UNSPEC, 0)
        return next(self._answers(), (0, b""))[1]

    def many(self, messages: Sequence[tuple[int, bytes, int, int]]) -> list[int]:
        """Has one after the other done: each is kind, attributes, family and flags. Returns, for each, 0 or the errno
        with which the kernel refuses; a refusal stops none of the others."""
        answers = [0] * len(messages)
        for start in range(0, len(messages), _AT_ONCE):
            some = messages[start : start + _AT_ONCE]
            packed = [
                message(kind, said, family, flags | _ACK, sequence=start + number)
                for number, (kind, said, family, flags) in enumerate(some)
            ]
            self._socket.sendall(b"".join(packed))
            waiting = len(some)
            while waiting:
                for kind, _, sequence, _, payload in split(self._socket.recv(1 << 17)):
                    if kind == _ERROR:
                        answers[sequence] = -int(struct.unpack_from("=i", payload)[0])
                        waiting -= 1
        return answers

    def dump(self, kind: int, family: int = socket.AF_UNSPEC, attributes: bytes = b"") -> Iterator[bytes]:
        """The attributes of each object; `attributes` say of which. Raises KernelError."""
        self._send(kind, attributes, family, _DUMP)
        for number, found in self._answers():
            if number:
                raise KernelError(f"reading netfilter's tables: {os.strerror(number)}")
            yield found

    def batch(self, subsystem: int, messages: Sequence[tuple[int, bytes]], family: int, flags: int = 0) -> int:
        """Has all of it done or nothing: each message is a number within the subsystem, and its attributes.

        Returns 0, or the errno with which the kernel refuses.
        """
        frame = (subsystem & 0xFF) << 8 | subsystem >> 8
        parts = [message(_BATCH_BEGIN, b"", socket.AF_UNSPEC, 0, sequence=1, resource=frame)]
        for number, (kind, attributes) in enumerate(messages, 2):
            parts.append(message(subsystem << 8 | kind, attributes, family, flags | _ACK, sequence=number))
        end = len(messages) + 2
        parts.append(message(_BATCH_END, b"", socket.AF_UNSPEC, 0, sequence=end, resource=frame))
        self._socket.send(b"".join(parts))
        waiting, refused = len(messages), 0
        while waiting:
            for kind, _, sequence, _, payload in split(self._socket.recv(1 << 16)):
                if kind != _ERROR:
                    continue
                refused = refused or -int(struct.unpack_from("=i", payload)[0])
                if sequence == 1:
                    return refused
                waiting -= 1
        return refused

    def packed(self, subsystem: int, messages: bytes) -> int:
        """As `batch`, of messages packed already, which ask for no answer."""
        frame = (subsystem & 0xFF) << 8 | subsystem >> 8
        begin = message(_BATCH_BEGIN, b"", socket.AF_UNSPEC, 0, sequence=1, resource=frame)
        end = message(_BATCH_END, b"", socket.AF_UNSPEC, 0, sequence=3, resource=frame)
        whole = b"".join((begin, *_acknowledged(messages), end))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 2 * len(whole))
        self._socket.send(whole)
        # All that there is to say is said by now: of what is refused alone, and of the first message in any case.
        refused = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                for kind, _, _, _, payload in split(self._socket.recv(1 << 16, socket.MSG_DONTWAIT)):
                    if kind == _ERROR:
                        refused = refused or -int(struct.unpack_from("=i", payload)[0])
        return refused

    def _send(self, kind: int, attributes: bytes, family: int, flags: int) -> None:
        self._socket.send(message(kind, attributes, family, flags, sequence=1))

    def _answers(self) -> Iterator[tuple[int, bytes]]:
        while True:
            for kind, _, _, _, payload in split(self._socket.recv(1 << 16)):
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    yield -int(struct.unpack_from("=i", payload)[0]), b""
                    return
                yield 0, payload[_GENERAL.size :]


def message(kind: int, attributes: bytes, family: int, flags: int, *, sequence: int, resource: int = 0) -> bytes:
    """A request as it is sent; `kind` as in `Nfnetlink`."""
    payload = _GENERAL.pack(family, 0, resource) + attributes
    return _HEADER.pack(_HEADER.size + len(payload), kind, flags | _REQUEST, sequence, 0) + payload


def _acknowledged(messages: bytes) -> tuple[bytes, bytes]:
    """The same, of which the first one asks for an answer."""
    length, kind, flags, sequence, port = _HEADER.unpack_from(messages)
    return _HEADER.pack(length, kind, flags | _ACK, sequence, port), messages[_HEADER.size :]


def attribute(kind: int, data: bytes, nested: bool = False) -> bytes:
    """One attribute, padded."""
    head = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(data), kind | (0x8000 if nested else 0))
    return head + data + bytes(-len(data) % 4)
