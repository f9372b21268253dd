"""Sockets in a pod's namespace. A socket stays in the namespace that it was opened in, wherever it is used."""

from __future__ import annotations

import asyncio
import socket

from k8snetlab.kernel import netns

BUFFER = 4 << 20
"""Octets of queries that may wait, so that a crowd that asks at once is answered, and not dropped."""
WAITING = 512
"""Connections that may wait to be accepted."""
End = tuple[str, int]


def datagrams(namespace: str, port: int, address: str = "") -> socket.socket:
    """Bound to one address, or to all of both families. Raises OSError, NotFoundError."""
    one = _bound(namespace, socket.SOCK_DGRAM, port, address)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    return one


def listening(namespace: str, port: int, address: str = "") -> socket.socket:
    """As `datagrams`, for connections."""
    one = _bound(namespace, socket.SOCK_STREAM, port, address)
    one.listen(WAITING)
    return one


def _bound(namespace: str, type_: socket.SocketKind, port: int, address: str) -> socket.socket:
    with netns.inside(namespace):
        six = ":" in address if address else socket.has_dualstack_ipv6()
        one = socket.socket(socket.AF_INET6 if six else socket.AF_INET, type_)
    try:
        one.setblocking(False)
        if six:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, bool(address))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((address, port))
    except OSError:
        one.close()
        raise
    return one


def to(namespace: str, server: End) -> socket.socket:
    """For datagrams to one server and from it. Raises OSError, NotFoundError."""
    one = _opened(namespace, server, socket.SOCK_DGRAM)
    try:
        one.connect(server)
    except OSError:
        one.close()
        raise
    return one


async def connected(namespace: str, server: End) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises OSError, NotFoundError."""
    one = _opened(namespace, server, socket.SOCK_STREAM)
    try:
        await asyncio.get_running_loop().sock_connect(one, server)
        return await asyncio.open_connection(sock=one)
    except BaseException:
        one.close()
        raise


def _opened(namespace: str, server: End, type_: socket.SocketKind) -> socket.socket:
    with netns.inside(namespace):
        one = socket.socket(socket.AF_INET6 if ":" in server[0] else socket.AF_INET, type_)
    one.setblocking(False)
    return one
