"""The sockets of a namespace that listen: protocol, address, port.

sock_diag(7) tells what /proc/net does not: whether a socket of the unspecified IPv6 address takes IPv4 too. Where the
kernel has no inet_diag, /proc/net is read, and `[::]` is taken to mean both.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from k8snetlab.kernel import netns

Listener = tuple[str, str, int]
"""Protocol, address, port; the address "" for any of both families, "0.0.0.0" and "::" for any of one."""

_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, _NLM_F_DUMP = 4, 20, 0x1, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_SKV6ONLY = 11
_REQUEST = struct.Struct("=IHHII BBBBI 48x")
"""nlmsghdr and inet_diag_req_v2 with an empty inet_diag_sockid. Source: linux/inet_diag.h."""
_ONE = struct.Struct("=IHHII BBBBI 2s2s16s16sIQ")
"""The same with the inet_diag_sockid of one socket: ports and addresses, interface, cookie."""
_EVERY_STATE, _NO_COOKIE = (1 << 32) - 1, (1 << 64) - 1
_HEADER, _MESSAGE = struct.Struct("=IHHII"), struct.Struct("=BBBB 2s2s16s16s 12x 20x")
_NUMBERS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}
_STATES = {"tcp": 10, "udp": 7}
"""Of a socket that listens: TCP_LISTEN, TCP_CLOSE."""


def read(namespace: str) -> frozenset[Listener]:
    """TCP and UDP. Raises NotFoundError."""
    with netns.inside(namespace):
        try:
            return frozenset(_asked())
        except OSError:
            return frozenset(_read())


def takers(namespace: str, ends: Iterable[Listener]) -> frozenset[Listener]:
    """Those of the ends, each of one address, that a socket takes connections or datagrams at: one question to the
    kernel for each, where `read` has it go through all sockets of the machine. None where the kernel does not say.
    Raises NotFoundError.
    """
    with netns.inside(namespace):
        try:
            asker = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
        except OSError:
            return frozenset()
    with asker:
        asker.settimeout(2)
        try:
            return frozenset(end for end in ends if _is_taken(asker, *end))
        except OSError:
            return frozenset()


def _is_taken(asker: socket.socket, protocol: str, address: str, port: int) -> bool:
    """Of TCP the asked end is the source, of UDP the destination: there the kernel has them swapped (udp_diag.c)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    own, other = (port, socket.inet_pton(family, address)), (0, b"")
    first, second = (own, other) if protocol == "tcp" else (other, own)
    asker.send(
        _ONE.pack(
            *(_ONE.size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0),
            *(family, _NUMBERS[protocol], 0, 0, _EVERY_STATE),
            *(first[0].to_bytes(2, "big"), second[0].to_bytes(2, "big"), first[1], second[1]),
            *(0, _NO_COOKIE),
        )
    )
    answer = asker.recv(1 << 12)
    return _HEADER.unpack_from(answer)[1] == _SOCK_DIAG_BY_FAMILY and answer[_HEADER.size + 1] == _STATES[protocol]


def _asked() -> list[Listener]:
    """Raises OSError where the kernel has no inet_diag."""
    found: list[Listener] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as asker:
        asker.settimeout(2)
        for protocol, number in _NUMBERS.items():
            for family in (socket.AF_INET, socket.AF_INET6):
                states = 1 << _STATES[protocol]
                asker.send(
                    _REQUEST.pack(
                        *(_REQUEST.size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0),
                        *(family, number, 0, 0, states),
                    )
                )
                found += [(protocol, address, port) for address, port in _answers(asker)]
    return found


def _answers(asker: socket.socket) -> Iterator[tuple[str, int]]:
    while True:
        data = asker.recv(1 << 16)
        while data:
            length, kind, *_ = _HEADER.unpack_from(data)
            message, data = data[_HEADER.size : length], data[-(-length // 4) * 4 :]
            if kind == _NLMSG_DONE:
                return
            if kind == _NLMSG_ERROR:
                raise OSError(-struct.unpack_from("=i", message)[0], "sock_diag")
            yield _answer(message)


def _answer(message: bytes) -> tuple[str, int]:
    family, _, _, _, port, _, packed, _ = _MESSAGE.unpack_from(message)
    only, rest = False, message[_MESSAGE.size :]
    while len(rest) >= 4:
        size, kind = struct.unpack_from("=HH", rest)
        only = only or (kind == _SKV6ONLY and bool(rest[4]))
        rest = rest[max(4, -(-size // 4) * 4) :]
    return _address(packed[: 16 if family == socket.AF_INET6 else 4], only), int.from_bytes(port, "big")


def _address(packed: bytes, only: bool) -> str:
    if len(packed) == 4:
        return socket.inet_ntop(socket.AF_INET, packed)
    if not any(packed):
        return "::" if only else ""
    if packed.startswith(bytes(10) + b"\xff\xff"):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed)


def _read() -> Iterator[Listener]:
    """From /proc/net, whose words of 32 bits are in the machine's order."""
    for protocol, state in _STATES.items():
        for suffix in ("", "6"):
            with contextlib.suppress(FileNotFoundError):
                text = Path(f"/proc/thread-self/net/{protocol}{suffix}").read_text()
                for line in text.splitlines()[1:]:
                    _, local, _, held, *_ = line.split()
                    if int(held, 16) == state:
                        packed, _, port = local.rpartition(":")
                        words = (int(packed[i : i + 8], 16) for i in range(0, len(packed), 8))
                        address = _address(struct.pack(f"={len(packed) // 8}I", *words), False)
                        yield protocol, address, int(port, 16)
