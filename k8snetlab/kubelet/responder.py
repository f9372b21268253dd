"""The built-in workload: answers on a pod's ports, and says who answered and which client it saw.

TCP: HTTP with one line of JSON: pod, namespace, node, ip (the address it was reached at), port, client, clientPort.
UDP: that line, and what was sent.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import cast

from k8snetlab.api.workload import PodWork
from k8snetlab.errors import KernelError, UnsupportedError
from k8snetlab.kernel import netns
from k8snetlab.kubelet.http import HttpServer, Reply

IPPROTO_SCTP = 132


def identity(pod: PodWork, local: tuple[str, int], peer: tuple[str, int]) -> bytes:
    """What a responder says of itself and of its client, as one line of JSON."""
    said = {
        "pod": pod.name,
        "namespace": pod.namespace,
        "node": pod.node,
        "ip": _plain(local[0]),
        "port": local[1],
        "client": _plain(peer[0]),
        "clientPort": peer[1],
    }
    return json.dumps(said).encode() + b"\n"


def _plain(address: str) -> str:
    return address.removeprefix("::ffff:")


class EchoResponder(asyncio.DatagramProtocol):
    """Answers each datagram with the identity line and the datagram."""

    def __init__(self, pod: PodWork, port: int) -> None:
        self._pod = pod
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own selector transport is no subclass of the type that its documentation promises.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        six = ":" in _plain(addr[0])
        reached = next((ip for ip in self._pod.ips if (":" in ip) == six), "")
        line = identity(self._pod, (reached, self._port), addr[:2])
        self._transport.sendto(line + data[: 1200 - len(line)], addr)


class Listener:
    """The built-in responder on one port of one pod."""

    def __init__(self, pod: PodWork, port: int, protocol: str) -> None:
        self._pod, self._port, self._protocol = pod, port, protocol
        self._server: HttpServer | None = None
        self._datagram: asyncio.BaseTransport | None = None

    async def start(self) -> None:
        """Raises KernelError when the port cannot be had."""
        loop = asyncio.get_running_loop()
        pod = self._pod
        try:
            sock = listen(pod.netns, self._port, self._protocol, ipv6=any(":" in ip for ip in pod.ips))
        except OSError as error:
            raise KernelError(
                f"cannot listen on {self._protocol} port {self._port}: {error.strerror}",
                "two containers of one pod share the ports",
            ) from error
        if self._protocol == "UDP":
            self._datagram, _ = await loop.create_datagram_endpoint(
                lambda: EchoResponder(self._pod, self._port), sock=sock
            )
        else:
            self._server = HttpServer(sock, lambda local, peer: Reply(200, identity(self._pod, local, peer)))

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._datagram is not None:
            self._datagram.close()


def listen(namespace: str, port: int, protocol: str, ipv6: bool, address: str = "") -> socket.socket:
    """A listening socket inside a namespace, on every address of both families or on one. Raises UnsupportedError,
    OSError.
    """
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    kind = socket.SOCK_DGRAM if protocol == "UDP" else socket.SOCK_STREAM
    try:
        with netns.inside(namespace):
            sock = socket.socket(family, kind, IPPROTO_SCTP if protocol == "SCTP" else 0)
    except OSError as error:
        if protocol == "SCTP":
            raise UnsupportedError("this kernel has no SCTP sockets", "modprobe sctp, or use TCP") from error
        raise
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, bool(address))
        sock.bind((address or ("::" if ipv6 else "0.0.0.0"), port))
        if protocol != "UDP":
            sock.listen(512)
    except OSError:
        sock.close()
        raise
    return sock
