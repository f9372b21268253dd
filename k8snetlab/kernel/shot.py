"""One probe packet, sent from inside a namespace, and what comes back to the sender."""

from __future__ import annotations

import errno
import os
import secrets
import socket
import struct
import time
from typing import NamedTuple

from k8snetlab.dataplane.packet import Fate
from k8snetlab.kernel import netns

_ICMP6, _ECHO, _ECHO6 = 58, 8, 128
_SCTP, _INIT_ACK, _ABORT = 132, 2, 6
_EVERY_ERROR = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}
"""IP_RECVERR, IPV6_RECVERR: without them a datagram's sender is not told that there is no route (ip(7))."""
_REFUSED = (errno.ECONNREFUSED, errno.ECONNRESET)
_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL, errno.ENOPROTOOPT, errno.EPROTO)


class Shot(NamedTuple):
    """`sport` is the source port, or an echo's identifier; `token` begins the payload (UDP, ICMP, SCTP); `error` is
    the system's word for what went wrong."""

    fate: Fate
    sport: int
    token: bytes
    milliseconds: float
    error: str = ""


def shoot(namespace: str, address: str, port: int, protocol: str, patience: float) -> Shot:
    """A TCP SYN (the connection is reset at once), a UDP datagram, an ICMP echo request or an SCTP INIT to `address`.

    SCTP goes through a raw socket, because few kernels have it; what is begun so is never finished.

    Waits at most `patience` seconds. Raises NotFoundError when there is no such namespace.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    token = b"k8snetlab trace " + secrets.token_hex(8).encode()
    kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM, "icmp": socket.SOCK_RAW, "sctp": socket.SOCK_RAW}[
        protocol
    ]
    number = {"icmp": _ICMP6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP, "sctp": _SCTP}.get(protocol, 0)
    with netns.inside(namespace):
        sock = socket.socket(family, kind, number)
    sport, began = 0, time.monotonic()
    fate: Fate = "answered"
    error = ""
    with sock:
        sock.settimeout(patience)
        if protocol != "tcp":
            sock.setsockopt(*_EVERY_ERROR[family], 1)
        try:
            if protocol == "icmp":
                sport = secrets.randbelow(0xFFFF) + 1
                _echo(sock, address, sport, token, began + patience)
            elif protocol == "sctp":
                sport, token = secrets.randbelow(0x7FFF) + 0x8000, _init_chunk(secrets.randbelow(0xFFFFFFFF) + 1)
                if not _associate(sock, address, (sport, port), token, began + patience):
                    fate, error = "refused", "aborted"
            else:
                sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", 0))
                sport = sock.getsockname()[1]
                sock.connect((address, port))
                if protocol == "udp":
                    sock.send(token)
                    sock.recv(2048)
                else:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except TimeoutError:
            fate = "lost"
            error = f"no answer within {patience:g} s"
        except OSError as refusal:
            number = refusal.errno or 0
            fate = "refused" if number in _REFUSED else "unreachable" if number in _UNREACHABLE else "lost"
            error = os.strerror(number).lower()
    return Shot(fate, sport, token, (time.monotonic() - began) * 1000, error)


def _echo(sock: socket.socket, address: str, identifier: int, token: bytes, deadline: float) -> None:
    six = sock.family == socket.AF_INET6
    request = struct.pack("!BBHHH", _ECHO6 if six else _ECHO, 0, 0, identifier, 1) + token
    if not six:
        request = request[:2] + struct.pack("!H", checksum(request)) + request[4:]
    sock.connect((address, 0))
    sock.send(request)
    while True:
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        data = sock.recv(2048)
        body = data if six else data[(data[0] & 15) * 4 :]
        if body[0] in (0, 129) and body[4:6] == struct.pack("!H", identifier) and body[8:].startswith(token):
            return


def _init_chunk(tag: int) -> bytes:
    """INIT: type, flags, length; initiate tag, window, streams out and in, first TSN."""
    return struct.pack("!BBHIIHHI", 1, 0, 20, tag, 0xFFFF, 1, 1, tag)


def _associate(sock: socket.socket, address: str, ports: tuple[int, int], chunk: bytes, deadline: float) -> bool:
    """Whether INIT is acknowledged; False when it is aborted."""
    head = struct.pack("!HHI", *ports, 0)
    sock.connect((address, 0))
    sock.send(head + struct.pack("<I", crc32c(head + bytes(4) + chunk)) + chunk)
    while True:
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        data = sock.recv(2048)
        body = data if sock.family == socket.AF_INET6 else data[(data[0] & 15) * 4 :]
        if len(body) > 12 and struct.unpack_from("!HH", body) == ports[::-1] and body[12] in (_INIT_ACK, _ABORT):
            return body[12] == _INIT_ACK


def crc32c(data: bytes) -> int:
    """SCTP's checksum (RFC 9260, appendix A)."""
    crc = 0xFFFFFFFF
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total = sum(int.from_bytes(data[i : i + 2].ljust(2, b"\0"), "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
