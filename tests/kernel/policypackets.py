"""Packets that policies let pass or not, and policies as manifests."""

from __future__ import annotations

import contextlib
import errno
import socket

import yaml

from k8snetlab.kernel import netns

REFUSED = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.EACCES)
"""What a REJECT is to a socket: of ICMP, of ICMPv6, and of ICMPv6 "port unreachable" by some kernels."""


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
            if local:
                sock.bind((local, 0))
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
