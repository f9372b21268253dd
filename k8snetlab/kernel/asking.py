"""Datagrams sent from inside a namespace, and what comes back for each; and the same over a connection.

Linux tells a connected datagram socket of ICMP errors (udp(7)); one that is not connected hears nothing of them.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from k8snetlab.kernel import netns

End = tuple[str, int]
"""Address and port."""
MOST = 65_535


class Heard(NamedTuple):
    """What became of one request: `octets` of its reply, b"" where there is none. `source` is where it was sent from;
    `error` the system's word for what went wrong, "" also where nothing came in time."""

    octets: bytes
    server: End
    source: End
    milliseconds: float
    error: str = ""


def by_udp(
    namespace: str,
    servers: Sequence[End],
    requests: Sequence[bytes],
    belongs: Callable[[bytes, bytes], bool],
    patience: float,
    *,
    told: bool = True,
) -> list[Heard]:
    """Each request is sent to every server; the first reply that `belongs` to it counts. At most `patience` seconds.

    `told`: sockets are connected. Raises NotFoundError where there is no such namespace.
    """
    found: dict[int, Heard] = {}
    errors: dict[End, str] = {}
    sources: dict[End, End] = {}
    opened: dict[End, socket.socket] = {}
    began = time.monotonic()
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as waiting:
        for server in servers:
            try:
                sock = stack.enter_context(_opened(namespace, server, socket.SOCK_DGRAM))
                if told:
                    sock.connect(server)
                for request in requests:
                    sock.send(request) if told else sock.sendto(request, server)
                sources[server] = sock.getsockname()[:2]
                opened[server] = sock
                waiting.register(sock, selectors.EVENT_READ, server)
            except OSError as error:
                errors[server] = _word(error)
        while len(found) < len(requests) and len(errors) < len(servers):
            left = began + patience - time.monotonic()
            ready = waiting.select(max(0.0, left)) if left > 0 else []
            if not ready:
                break
            for key, _ in ready:
                server = key.data
                try:
                    octets, sender = opened[server].recvfrom(MOST)
                except OSError as error:
                    errors[server] = _word(error)
                    waiting.unregister(opened[server])
                    continue
                if sender[:2] == server:
                    took = (time.monotonic() - began) * 1000
                    _sort(found, requests, belongs, Heard(octets, server, sources[server], took))
    took = (time.monotonic() - began) * 1000
    first = servers[0]
    missed = Heard(b"", first, sources.get(first, ("", 0)), took, errors.get(first, ""))
    return [found.get(number, missed) for number in range(len(requests))]


def by_tcp(namespace: str, server: End, request: bytes, patience: float) -> Heard:
    """The same over a connection, each message with its length (two octets) before it."""
    began, source, error, octets = time.monotonic(), ("", 0), "", b""
    try:
        with _opened(namespace, server, socket.SOCK_STREAM) as sock:
            sock.settimeout(patience)
            sock.connect(server)
            source = sock.getsockname()[:2]
            sock.sendall(struct.pack("!H", len(request)) + request)
            with sock.makefile("rb") as reader:
                length = reader.read(2)
                octets = reader.read(struct.unpack("!H", length)[0]) if len(length) == 2 else b""
            error = "" if octets else "the connection was closed"
    except TimeoutError:
        pass
    except OSError as refusal:
        error = _word(refusal)
    return Heard(octets, server, source, (time.monotonic() - began) * 1000, error)


def _opened(namespace: str, server: End, kind: int) -> socket.socket:
    with netns.inside(namespace):
        return socket.socket(socket.AF_INET6 if ":" in server[0] else socket.AF_INET, kind)


def _sort(
    found: dict[int, Heard], requests: Iterable[bytes], belongs: Callable[[bytes, bytes], bool], one: Heard
) -> None:
    for number, request in enumerate(requests):
        if number not in found and belongs(request, one.octets):
            found[number] = one
            return


def _word(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)
