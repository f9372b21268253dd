"""The built-in workload: answers on a pod's ports with who answered and whom it saw.

TCP: HTTP/1.1, any method and path; a client that speaks no HTTP gets the same line after its first bytes. UDP: the line
and what was sent. The body is one JSON object: pod, namespace, node, ip (the address it was reached at), port, client.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import cast

from k8snetlab.agent.workload import PodWork
from k8snetlab.errors import KernelError, UnsupportedError
from k8snetlab.kernel import netns

IPPROTO_SCTP = 132
MAX_HEADER = 65536
_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE ")


def identity(pod: PodWork, local: tuple[str, int], peer: tuple[str, int]) -> dict[str, object]:
    """What a responder says of itself and of its client."""
    return {
        "pod": pod.name,
        "namespace": pod.namespace,
        "node": pod.node,
        "ip": _plain(local[0]),
        "port": local[1],
        "client": _plain(peer[0]),
        "clientPort": peer[1],
    }


def _plain(address: str) -> str:
    return address.removeprefix("::ffff:")


class HttpResponder(asyncio.Protocol):
    """One TCP connection; keep-alive until the client closes."""

    def __init__(self, pod: PodWork) -> None:
        self._pod = pod
        self._buffer = b""
        self._body_left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._local = transport.get_extra_info("sockname")[:2]
        self._peer = transport.get_extra_info("peername")[:2]

    def data_received(self, data: bytes) -> None:
        if self._body_left:
            skipped = min(self._body_left, len(data))
            self._body_left -= skipped
            data = data[skipped:]
        self._buffer += data
        if self._buffer and not any(m.startswith(self._buffer[:8]) or self._buffer.startswith(m) for m in _METHODS):
            self._transport.write(self._line())
            self._transport.close()
            return
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
            self._answer(head)
        if len(self._buffer) > MAX_HEADER:
            self._transport.close()

    def _answer(self, head: bytes) -> None:
        request, *headers = head.split(b"\r\n")
        fields = dict(h.lower().split(b":", 1) for h in headers if b":" in h)
        length = fields.get(b"content-length", b"0").strip()
        self._body_left = int(length) if length.isdigit() else 0
        skipped = min(self._body_left, len(self._buffer))
        self._buffer, self._body_left = self._buffer[skipped:], self._body_left - skipped
        close = request.endswith(b"HTTP/1.0") or fields.get(b"connection", b"").strip() == b"close"
        body = self._line()
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: k8snetlab\r\n"
            b"Content-Length: %d\r\n%s\r\n"
            % (len(body), b"Connection: close\r\n" if close else b"")
            + (b"" if request.startswith(b"HEAD ") else body)
        )
        if close:
            self._transport.close()

    def _line(self) -> bytes:
        return json.dumps(identity(self._pod, self._local, self._peer)).encode() + b"\n"


class EchoResponder(asyncio.DatagramProtocol):
    """Answers each datagram with the identity line and the datagram."""

    def __init__(self, pod: PodWork, port: int) -> None:
        self._pod = pod
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own selector transport is no subclass of the type that its documentation promises.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        local = (self._pod.ips[0] if self._pod.ips else "", self._port)
        line = json.dumps(identity(self._pod, local, addr[:2])).encode() + b"\n"
        self._transport.sendto(line + data[: 1200 - len(line)], addr)


class Listener:
    """The built-in responder on one port of one pod."""

    def __init__(self, pod: PodWork, port: int, protocol: str) -> None:
        self._pod, self._port, self._protocol = pod, port, protocol
        self._server: asyncio.Server | None = None
        self._datagram: asyncio.BaseTransport | None = None

    async def start(self) -> None:
        """Raises KernelError when the port cannot be had."""
        loop = asyncio.get_running_loop()
        sock = _open(self._pod, self._port, self._protocol)
        if self._protocol == "UDP":
            self._datagram, _ = await loop.create_datagram_endpoint(
                lambda: EchoResponder(self._pod, self._port), sock=sock
            )
        else:
            self._server = await loop.create_server(lambda: HttpResponder(self._pod), sock=sock)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._datagram is not None:
            self._datagram.close()


def _open(pod: PodWork, port: int, protocol: str) -> socket.socket:
    family = socket.AF_INET6 if any(":" in ip for ip in pod.ips) else socket.AF_INET
    kind = socket.SOCK_DGRAM if protocol == "UDP" else socket.SOCK_STREAM
    try:
        with netns.inside(pod.netns):
            sock = socket.socket(family, kind, IPPROTO_SCTP if protocol == "SCTP" else 0)
    except OSError as error:
        if protocol == "SCTP":
            raise UnsupportedError("this kernel has no SCTP sockets", "modprobe sctp, or use TCP") from error
        raise
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
        if protocol != "UDP":
            sock.listen(512)
    except OSError as error:
        sock.close()
        raise KernelError(
            f"pod {pod.namespace}/{pod.name} cannot listen on {protocol} port {port}: {error.strerror}",
            "two containers of one pod share the ports",
        ) from error
    return sock
