"""Watching packets: everything that passes the devices of several namespaces, decoded, with the time of each.

One packet socket per namespace (packet(7)) sees every device of it, both ways; conntrack's events tell the connections
that the rules made. Nothing is read while the packets fly: sockets keep them, with the kernel's own timestamps.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from k8snetlab.dataplane.frames import Connection, Frame
from k8snetlab.dataplane.packet import IPV4, IPV6, NAMES, TUNNEL_PORTS, decode
from k8snetlab.kernel import netns, stamps
from k8snetlab.kernel.netlink import attributes, split

_ETH_P_ALL, _SO_RCVBUFFORCE = 0x0003, 33
_OUTGOING, _OTHERHOST = 4, 3
_NETLINK_NETFILTER, _NEW_CONNECTIONS = 12, 1
_SOL_NETLINK, _NETLINK_NO_ENOBUFS = 270, 5
_SNAP = 512
_BUFFER = 4 << 20


class Watch:
    """Sees packets from its creation on; `frames` and `connections` empty it. Raises NotFoundError."""

    def __init__(self, namespaces: Iterable[str], tunnel_ports: Collection[int] = TUNNEL_PORTS) -> None:
        self._ports = frozenset(tunnel_ports)
        self._packets: dict[str, socket.socket] = {}
        self._events: dict[str, socket.socket] = {}
        try:
            for namespace in namespaces:
                with netns.inside(namespace):
                    self._packets[namespace] = _packet_socket()
                    self._events[namespace] = _event_socket()
            stamps.begun()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """All at once: the end of each packet socket waits for every processor (synchronize_net), some 10 ms."""
        sockets = [*self._packets.values(), *self._events.values()]
        with ThreadPoolExecutor(len(sockets) or 1) as together:
            list(together.map(socket.socket.close, sockets))

    def frames(self) -> list[Frame]:
        """IP packets in the order of their time."""
        return sorted((f for n, s in self._packets.items() for f in self._read(n, s)), key=lambda f: f.nanoseconds)

    def connections(self) -> list[Connection]:
        return [c for namespace, events in self._events.items() for c in _connections(namespace, events)]

    def _read(self, namespace: str, packets: socket.socket) -> Iterator[Frame]:
        with contextlib.suppress(BlockingIOError):
            while True:
                data, ancillary, _, address = packets.recvmsg(_SNAP, 64)
                packet = decode(data, self._ports) if address[1] in (IPV4, IPV6) else None
                if packet:
                    way = address[2]
                    yield Frame(
                        namespace,
                        address[0],
                        way == _OUTGOING,
                        way == _OTHERHOST,
                        stamps.of(ancillary),
                        packet,
                    )


def _packet_socket() -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
    stamps.ask(opened)
    return _roomy(opened)


def _event_socket() -> socket.socket:
    """What it has no room for is lost, as packets are, and no error."""
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    opened.setsockopt(_SOL_NETLINK, _NETLINK_NO_ENOBUFS, 1)
    opened.bind((0, 1 << _NEW_CONNECTIONS - 1))
    return _roomy(opened)


def _roomy(opened: socket.socket) -> socket.socket:
    with contextlib.suppress(PermissionError):
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    opened.setblocking(False)
    return opened


def _connections(namespace: str, events: socket.socket) -> Iterator[Connection]:
    """Source: linux/netfilter/nfnetlink_conntrack.h."""
    with contextlib.suppress(BlockingIOError):
        while True:
            for _, _, _, _, payload in split(events.recv(1 << 16)):
                entry = attributes(payload[4:])
                if 1 in entry and 2 in entry:
                    protocol, original = _tuple(entry[1])
                    yield Connection(namespace, protocol, original, _tuple(entry[2])[1])


def _tuple(data: bytes) -> tuple[str, tuple[str, int, str, int]]:
    found = attributes(data)
    addresses, protocol = attributes(found[1]), attributes(found[2])
    six = 3 in addresses
    family = socket.AF_INET6 if six else socket.AF_INET
    src, dst = (socket.inet_ntop(family, addresses[kind]) for kind in ((3, 4) if six else (1, 2)))
    ports = [int.from_bytes(protocol[kind], "big") if kind in protocol else 0 for kind in (2, 3)]
    return NAMES.get(protocol[1][0], str(protocol[1][0])), (src, ports[0], dst, ports[1])
