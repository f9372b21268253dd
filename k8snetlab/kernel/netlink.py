"""A route netlink socket that stays in the namespace it was opened in.

The transport is ours because pyroute2 0.9 opens its sockets per thread, in whatever namespace the using thread is.
Protocol: netlink(7), rtnetlink(7), the kernel's userspace-api/netlink.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from k8snetlab.errors import KernelError
from k8snetlab.kernel import netns
from k8snetlab.kernel.messages import (
    ATTRIBUTE,
    HEADER,
    IFLA_EXT_MASK,
    IFLA_IFNAME,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    RTEXT_FILTER_SKIP_STATS,
    RTM_GETLINK,
    NetlinkRequest,
    ifinfomsg,
    number,
)

_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK = 270, 10, 11, 12
_SO_RCVBUFFORCE = 33
_SIOCGIFINDEX = 0x8933
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_DUMP_INTR, _NLM_F_CAPPED, _NLM_F_ACK_TLVS = 0x10, 0x100, 0x200
_NLMSGERR_ATTR_MSG = 1
_AT_ONCE = 256
"""Messages per send: their answers wait in the receive buffer, 0.8 kB of its memory for each."""
_RECEIVE_BUFFER = 1 << 20
_DUMP_TRIES = 20


class Refusal(NamedTuple):
    """Why the kernel refused a message: the errno and the kernel's own sentence, where it gave one."""

    errno: int
    extack: str

    def __str__(self) -> str:
        text = os.strerror(self.errno)
        return f"{text} ({self.extack})" if self.extack else text


class Netlink:
    """Usable from any thread. Raises NotFoundError when there is no such namespace, KernelError when no more files may
    be opened."""

    def __init__(self, namespace: str = "") -> None:
        self.namespace = namespace
        self._lock = threading.Lock()
        self._sequence = 0
        with netns.inside(namespace):
            try:
                self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            except OSError as error:
                raise KernelError(f"a netlink socket in {namespace or 'this namespace'}: {error.strerror}") from error
        self._socket.bind((0, 0))
        for option in (_NETLINK_EXT_ACK, _NETLINK_CAP_ACK, _NETLINK_GET_STRICT_CHK):
            with contextlib.suppress(OSError):
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
        with contextlib.suppress(PermissionError):
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    @property
    def port(self) -> int:
        """Its netlink address (port id), which the kernel tells with some of the changes that it asks for."""
        return int(self._socket.getsockname()[0])

    def index(self, device: str) -> int:
        """The ifindex of a device, 0 when there is none."""
        return index(self._socket, device)

    def kind(self, device: str) -> str:
        """What a device is in words of `ip -d link`: veth, bridge; "" where it is a plain one, or none."""
        request = NetlinkRequest(RTM_GETLINK, 0, ifinfomsg() + number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS))
        for message in self.dump(request):
            found = attributes(message[HEADER.size + len(ifinfomsg()) :])
            if found[IFLA_IFNAME].rstrip(b"\0").decode() == device:
                info = attributes(found.get(IFLA_LINKINFO, b""))
                return info.get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode()
        return ""

    def batch(self, requests: Sequence[NetlinkRequest]) -> list[Refusal | None]:
        """Send all and wait: for each request None when done, else why not. The kernel goes on after a refusal."""
        results: list[Refusal | None] = []
        with self._lock:
            for start in range(0, len(requests), _AT_ONCE):
                results += self._exchange(requests[start : start + _AT_ONCE])
        return results

    def dump(self, request: NetlinkRequest) -> list[bytes]:
        """Every object the request asks for, in a consistent snapshot: each message as it came, with its 16 bytes of
        header. Raises KernelError.
        """
        with self._lock:
            for _ in range(_DUMP_TRIES):
                messages = self._dump_once(request)
                if messages is not None:
                    return messages
        raise KernelError(
            f"{self.namespace or 'this namespace'} changed during each of {_DUMP_TRIES} readings",
            "try again when less is going on",
        )

    def _exchange(self, requests: Sequence[NetlinkRequest]) -> list[Refusal | None]:
        """Only the last is acknowledged: of the others the kernel tells those that it refuses, and before that."""
        first = self._sequence + 1
        *others, last = requests
        self._socket.send(b"".join([*(self._packed(one, 0) for one in others), self._packed(last, NLM_F_ACK)]))
        results: list[Refusal | None] = [None] * len(requests)
        while True:
            for kind, flags, sequence, _, payload in self._receive():
                if kind == _NLMSG_ERROR and sequence >= first:
                    results[sequence - first] = _refusal(flags, payload)
                    if sequence == self._sequence:
                        return results

    def _dump_once(self, request: NetlinkRequest) -> list[bytes] | None:
        """The raw messages, or None when the kernel says that they are not of one moment."""
        self._socket.send(self._packed(request, NLM_F_DUMP))
        messages: list[bytes] = []
        interrupted, wanted, unpack = 0, self._sequence, HEADER.unpack_from
        while True:
            data, offset = self._socket.recv(1 << 16), 0
            while offset + 16 <= len(data):
                length, kind, flags, sequence, _ = unpack(data, offset)
                message, offset = data[offset : offset + length], offset + (length + 3 & ~3)
                if sequence != wanted:
                    continue
                interrupted |= flags & _NLM_F_DUMP_INTR
                if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                    refusal = _refusal(flags, message[HEADER.size :])
                    if refusal and refusal.errno == errno.EINTR:
                        return None
                    if refusal:
                        raise KernelError(f"reading {self.namespace or 'the own namespace'}: {refusal}")
                    return None if interrupted else messages
                messages.append(message)

    def _packed(self, request: NetlinkRequest, flags: int) -> bytes:
        self._sequence += 1
        flags |= request.flags | NLM_F_REQUEST
        return HEADER.pack(HEADER.size + len(request.body), request.type, flags, self._sequence, 0) + request.body

    def _receive(self) -> Iterator[tuple[int, int, int, int, bytes]]:
        return split(self._socket.recv(1 << 16))


def index(sock: socket.socket, device: str) -> int:
    """The ifindex of a device in the namespace of any socket, 0 when there is none."""
    try:
        answer = fcntl.ioctl(sock, _SIOCGIFINDEX, struct.pack("16si20x", device.encode(), 0))
    except OSError as error:
        if error.errno == errno.ENODEV:
            return 0
        raise
    return int(struct.unpack_from("i", answer, 16)[0])


def split(data: bytes) -> Iterator[tuple[int, int, int, int, bytes]]:
    """The messages of one datagram: type, flags, sequence number, port, payload."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, flags, sequence, port = HEADER.unpack_from(data, offset)
        yield kind, flags, sequence, port, data[offset + HEADER.size : offset + length]
        offset += (length + 3) & ~3


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """A message's attributes by number, from `offset` on: of those with one number the last; a nested one's value is
    attributes again."""
    found, end, unpack = {}, len(data) - ATTRIBUTE.size, ATTRIBUTE.unpack_from
    while offset <= end:
        length, kind = unpack(data, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def _refusal(flags: int, payload: bytes) -> Refusal | None:
    """What an NLMSG_ERROR (or a NLMSG_DONE) says; attributes follow the echoed header or the whole echoed request."""
    refused = -int(struct.unpack_from("=i", payload)[0]) if len(payload) >= 4 else 0
    if refused <= 0:
        return None
    extack = ""
    if flags & _NLM_F_ACK_TLVS and len(payload) >= 4 + HEADER.size:
        echoed = HEADER.size if flags & _NLM_F_CAPPED else HEADER.unpack_from(payload, 4)[0]
        offset = 4 + ((echoed + 3) & ~3)
        while offset + ATTRIBUTE.size <= len(payload):
            length, kind = ATTRIBUTE.unpack_from(payload, offset)
            if length < ATTRIBUTE.size:
                break
            if kind & 0x3FFF == _NLMSGERR_ATTR_MSG:
                extack = payload[offset + ATTRIBUTE.size : offset + length].rstrip(b"\0").decode(errors="replace")
            offset += (length + 3) & ~3
    return Refusal(refused, extack)
