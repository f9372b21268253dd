"""When routes arrive in kernels: told by netlink in each namespace, so that nobody has to ask and disturb."""

from __future__ import annotations

import errno
import fcntl
import selectors
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType

from benchmarks.run import FailedError
from k8snetlab.errors import NotFoundError
from k8snetlab.kernel import netns

NEW, GONE = 24, 25
"""RTM_NEWROUTE, RTM_DELROUTE (linux/rtnetlink.h)."""
GROUPS = 0x40
"""RTMGRP_IPV4_ROUTE."""
RTA_DST = 1
SIOCGIFADDR = 0x8915
SO_RCVBUFFORCE = 33
BUFFER = 8 << 20
LOOK = 0.02
"""Seconds between two looks at what netlink does not tell: namespaces that are not there yet."""
Networks = Mapping[str, Set[str]]
"""The networks, as ADDRESS/LENGTH, that are to be routed in each namespace."""


class Arrivals:
    """Listens in namespaces, from `add` on."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._held: dict[str, set[str]] = {}
        self.lost = 0
        """Routes that were taken away again."""

    def __enter__(self) -> Arrivals:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def add(self, namespace: str) -> None:
        """Raises NotFoundError."""
        with netns.inside(namespace):
            line = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        line.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        line.setblocking(False)
        line.bind((0, GROUPS))
        self._held[namespace] = set()
        self._selector.register(line, selectors.EVENT_READ, namespace)

    def wait(self, wanted: Networks, timeout: float) -> float:
        """When the last of the wanted routes was there (time.perf_counter). Raises FailedError."""
        late = time.perf_counter() + timeout
        at = time.perf_counter()
        while lacking := sum(len(networks - self._held[name]) for name, networks in wanted.items()):
            if time.perf_counter() > late:
                raise FailedError(f"{lacking} routes are not there after {timeout:.0f} s")
            if self.hear(0.5):
                at = time.perf_counter()
        return at

    def hear(self, seconds: float) -> bool:
        """Takes in what there is, or what comes within `seconds` first."""
        heard = False
        for key, _ in self._selector.select(seconds):
            line, held = key.fileobj, self._held[key.data]
            with suppress(BlockingIOError):
                while True:
                    heard = True
                    for kind, network in routes(line.recv(1 << 16)):  # type: ignore[union-attr]
                        if kind == NEW:
                            held.add(network)
                        elif network in held:
                            held.remove(network)
                            self.lost += 1
        return heard


def routes(data: bytes) -> Iterator[tuple[int, str]]:
    """Of netlink's messages, the kind and the network of each route to one."""
    while len(data) >= 28:
        length, kind = struct.unpack_from("=IH", data)
        size = data[17]
        body, data = data[28:length], data[(length + 3) & ~3 :]
        while len(body) >= 4:
            width, attribute = struct.unpack_from("=HH", body)
            if attribute == RTA_DST and kind in (NEW, GONE):
                yield kind, f"{socket.inet_ntoa(body[4:8])}/{size}"
            body = body[max((width + 3) & ~3, 4) :]


def addressed(namespaces: Iterable[str], arrivals: Arrivals, timeout: float) -> float:
    """Has `arrivals` listen in each of the namespaces as soon as it is there; when the last of them had an address on
    eth0. Raises FailedError."""
    late, absent, bare = time.perf_counter() + timeout, [*namespaces], list[str]()
    with _asking() as has_address:
        while absent or bare:
            if time.perf_counter() > late:
                raise FailedError(f"{len(absent)} nodes are not there, {len(bare)} without address")
            for name in list(absent):
                with suppress(NotFoundError):
                    arrivals.add(name)
                    absent.remove(name)
                    bare.append(name)
            bare = [name for name in bare if not has_address(name)]
            if absent or bare:
                arrivals.hear(LOOK)
    return time.perf_counter()


@contextmanager
def _asking() -> Iterator[_Asked]:
    with ExitStack() as stack:
        yield _Asked(stack)


class _Asked:
    """Whether eth0 of a namespace has an address, by one socket in each."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack, self._lines = stack, dict[str, socket.socket]()

    def __call__(self, namespace: str) -> bool:
        if namespace not in self._lines:
            with netns.inside(namespace):
                self._lines[namespace] = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        try:
            fcntl.ioctl(self._lines[namespace], SIOCGIFADDR, struct.pack("256s", b"eth0"))
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.ENODEV):
                return False
            raise
        return True
