"""Packets that policies let pass or not, and policies as manifests."""

from __future__ import annotations

import contextlib
import errno
import itertools
import socket
import struct

import yaml

from k8snetlab.kernel import netns

REFUSED = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.EACCES)
"""What a REJECT is to a socket: of ICMP, of ICMPv6, and of ICMPv6 "port unreachable" by some kernels."""


_PORTS = itertools.cycle(range(10000, 32768))
"""Datagrams' source ports, none of them soon again: conntrack knows an exchange for half a minute, and policies let go
on what goes on. They are below those that the kernel gives."""
PATIENCE = 15.0
"""Seconds: whoever may not is told so at once by a REJECT, so silence is a machine that is busy, or a lost packet."""


def passes(source: str, address: str, protocol: str, port: int, local: str = "") -> bool:
    """Whether a packet from the namespace `source` is answered; `local` is the address that it comes from. A datagram
    is sent again, as a SYN is, while nothing is heard."""
    kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
    with netns.inside(source):
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    with sock:
        sock.settimeout(PATIENCE)
        try:
            if local or protocol == "UDP":
                sock.bind((local, next(_PORTS) if protocol == "UDP" else 0))
            sock.connect((address, port))
            if protocol == "UDP":
                repeated(sock, b"?", PATIENCE)
        except OSError as error:
            if isinstance(error, TimeoutError) or error.errno in REFUSED:
                return False
            raise
    return True


def repeated(sock: socket.socket, data: bytes, patience: float) -> bytes:
    """What is heard after sending; sent again after each fifth of the patience. Raises TimeoutError, and what the
    datagram was refused with."""
    sock.settimeout(patience / 5)
    for _ in range(5):
        sock.send(data)
        with contextlib.suppress(TimeoutError):
            return sock.recv(1000)
    raise TimeoutError


def policy(text: str, space: str = "x", name: str = "p") -> str:
    """A NetworkPolicy of a namespace, or, where the spec has a tier, a ClusterNetworkPolicy."""
    spec = yaml.safe_load(text)
    if "tier" in spec:
        version, kind = "policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy"
        return yaml.safe_dump({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec})
    version, kind = "networking.k8s.io/v1", "NetworkPolicy"
    metadata = {"name": name, "namespace": space}
    return yaml.safe_dump({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})


def opening_of_sctp(source: int, target: int) -> bytes:
    """An SCTP packet that opens an association between two ports (INIT), made by hand: few kernels have SCTP's sockets,
    and all have what filters it."""
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 0x1234, 65536, 1, 1, 1)
    head = struct.pack("!HHI", source, target, 0)
    return head + struct.pack("<I", _crc32c(head + bytes(4) + chunk)) + chunk


def _crc32c(data: bytes) -> int:
    """SCTP's checksum."""
    crc = 0xFFFFFFFF
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
