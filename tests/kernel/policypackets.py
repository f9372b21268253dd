"""Packets that policies let pass or not, and policies as manifests."""

from __future__ import annotations

import errno
import socket

import yaml

from k8snetlab.kernel import netns

REFUSED = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.EACCES)
"""What a REJECT is to a socket: of ICMP, of ICMPv6, and of ICMPv6 "port unreachable" by some kernels."""


def passes(source: str, address: str, protocol: str, port: int, local: str = "") -> bool:
    """Whether a packet from the namespace `source` is answered; `local` is the address that it comes from."""
    kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
    with netns.inside(source):
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    with sock:
        sock.settimeout(1.0)
        try:
            if local:
                sock.bind((local, 0))
            sock.connect((address, port))
            if protocol == "UDP":
                sock.send(b"?")
                sock.recv(1000)
        except OSError as error:
            if isinstance(error, TimeoutError) or error.errno in REFUSED:
                return False
            raise
    return True


def policy(text: str, space: str = "x", name: str = "p") -> str:
    """A NetworkPolicy of a namespace, or, where the spec has a tier, a ClusterNetworkPolicy."""
    spec = yaml.safe_load(text)
    if "tier" in spec:
        version, kind = "policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy"
        return yaml.safe_dump({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec})
    version, kind = "networking.k8s.io/v1", "NetworkPolicy"
    metadata = {"name": name, "namespace": space}
    return yaml.safe_dump({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})
