"""One probe packet, sent from inside a namespace, and what the sender hears of it."""

from __future__ import annotations

import errno
import os
import secrets
import socket
import struct
import time
from typing import Literal, NamedTuple

from k8snetlab.kernel import netns

Heard = Literal["answered", "refused", "unreachable", "lost"]
_ICMP6, _ECHO, _ECHO6 = 58, 8, 128
_REFUSED = (errno.ECONNREFUSED, errno.ECONNRESET)
_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL)


class Shot(NamedTuple):
    """`sport` is the source port, or an echo's identifier; `token` begins the payload (UDP, ICMP); `error` is the
    system's word for what went wrong."""

    heard: Heard
    sport: int
    token: bytes
    milliseconds: float
    error: str = ""


def shoot(namespace: str, address: str, port: int, protocol: str, patience: float) -> Shot:
    """A TCP SYN (the connection is reset at once), a UDP datagram or an ICMP echo request to `address`.

    Waits at most `patience` seconds. Raises NotFoundError when there is no such namespace.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    token = b"k8snetlab trace " + secrets.token_hex(8).encode()
    kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM, "icmp": socket.SOCK_RAW}[protocol]
    number = 0 if protocol != "icmp" else _ICMP6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
    with netns.inside(namespace):
        sock = socket.socket(family, kind, number)
    sport, began = 0, time.monotonic()
    heard: Heard = "answered"
    error = ""
    with sock:
        sock.settimeout(patience)
        try:
            if protocol == "icmp":
                sport = secrets.randbelow(0xFFFF) + 1
                _echo(sock, address, sport, token, began + patience)
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
            heard = "lost"
            error = f"no answer within {patience:g} s"
        except OSError as refusal:
            number = refusal.errno or 0
            heard = "refused" if number in _REFUSED else "unreachable" if number in _UNREACHABLE else "lost"
            error = os.strerror(number).lower()
    return Shot(heard, sport, token, (time.monotonic() - began) * 1000, error)


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


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total = sum(int.from_bytes(data[i : i + 2].ljust(2, b"\0"), "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
