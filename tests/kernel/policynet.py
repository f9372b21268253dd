"""Nine pods on two nodes, without a lab: what one packet from each to each becomes at each port, all sent at once."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from policypackets import REFUSED, opening_of_sctp

from k8snetlab.agent.calico import Calico
from k8snetlab.agent.kube_router import KubeRouter
from k8snetlab.agent.protocol import Surroundings
from k8snetlab.agent.tables import Table
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import FAMILIES, pick
from k8snetlab.dataplane.names import CALI_MAC, cali
from k8snetlab.kernel import iptables, netns
from k8snetlab.render import calico
from k8snetlab.render.netpol.node import render
from k8snetlab.state.ledger import Ledger
from k8snetlab.testing import madeup
from k8snetlab.testing.waiting import eventually

NODES = ("node1", "node2")
LISTENED = (("TCP", 80), ("TCP", 81), ("UDP", 80))
FIRST, LAST = 1024, 32767
"""Source ports, below those that the kernel gives."""
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: whoever closes a connection resets it, and it is soon forgotten."""
GRACE = 0.2
"""Seconds of silence after the last packet that was to arrive: all have been sent by then."""
PATIENCE = 20.0
"""Seconds that all packets together may take."""
Asked = tuple[str, str, str, int]
"""From and to, as namespace/name, protocol and port."""


class Net:
    """Namespaces, devices and routes; `pods` are their addresses, of IPv4 and IPv6, by namespace/name. Pods of one node
    reach each other by its bridge, all others are routed. All know all others' neighbours. With `felix` every pod is
    alone at its own device, as with Calico, and Felix' rules are kept, which drop and say nothing."""

    def __init__(
        self,
        stack: ExitStack,
        pods: Mapping[str, Sequence[str]],
        variant: iptables.Variant,
        files: Path,
        felix: bool = False,
    ):
        self.pods, self._run, self._felix = pods, madeup.name(), felix
        self.node_of = {pod: NODES[number % 2] for number, pod in enumerate(pods)}
        for name in map(self.netns, (*NODES, *pods)):
            netns.create(name)
            stack.callback(netns.delete, name)
        self._wire()
        self._agents = [_Agent(stack, one, self.netns(one), variant, files, felix) for one in NODES]
        self._listeners = [(stack.enter_context(sock), pod) for pod in pods for sock in self._listening(pod)]
        self._sctp = {pod: stack.enter_context(self._raw(pod)) for pod in pods}
        self._sport = FIRST
        for family in (4, 6):
            everybody = {(source, target, "TCP", 80): True for source in pods for target in pods}
            eventually(lambda: all(self.sent(everybody, family).values()))  # noqa: B023 (it is called at once)

    def netns(self, place: str) -> str:
        return f"{self._run}.{place.replace('/', '.')}"

    def sync(self, snapshot: Snapshot) -> None:
        """Both nodes' rules, of the families that the snapshot's Lab has."""
        for agent in self._agents:
            agent.sync(snapshot)

    def sent(self, meant: Mapping[Asked, bool], family: int = 4) -> dict[Asked, bool]:
        """Whether each was answered; of SCTP whether it arrived, as few kernels have its sockets. What is `meant` to
        arrive is waited for."""
        found: dict[Asked, bool] = {}
        sctp = {}
        for source, target, protocol, port in meant:
            if protocol == "SCTP":
                sport = self._unused()
                sctp[self.pods[target][0], sport] = (source, target, protocol, port)
                self._sctp[source].sendto(opening_of_sctp(sport, port), (self.pods[target][0], 0))
        with ExitStack() as stack:
            waiting = {}
            for one in meant:
                if one[2] != "SCTP":
                    sock = stack.enter_context(self._calling(one, family))
                    waiting[sock.fileno()] = (sock, one)
            self._answered(waiting, found, meant)
        arrived = self._arrived({key for key, one in sctp.items() if meant[one]})
        return found | {one: key in arrived for key, one in sctp.items()}

    def _unused(self) -> int:
        """A source port that no connection which a node remembers has come from."""
        self._sport = self._sport + 1 if self._sport < LAST else FIRST
        return self._sport

    def _calling(self, asked: Asked, family: int) -> socket.socket:
        source, target, protocol, port = asked
        kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
        with netns.inside(self.netns(source)):
            sock = socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, kind)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.bind(("", self._unused()))
        sock.connect_ex((self.pods[target][family == 6], port))
        if protocol == "UDP":
            sock.send(b"?")
        return sock

    def _answered(
        self,
        waiting: dict[int, tuple[socket.socket, Asked]],
        found: dict[Asked, bool],
        meant: Mapping[Asked, bool],
    ) -> None:
        """What Felix drops nobody tells of: it is looked for once more when all that is meant to arrive has."""
        poll = select.epoll()
        for sock, _ in self._listeners:
            poll.register(sock, select.EPOLLIN)
        for fd, (_, one) in waiting.items():
            poll.register(fd, select.EPOLLOUT if one[2] == "TCP" else select.EPOLLIN)
        serving = {sock.fileno(): sock for sock, _ in self._listeners}
        left, until = len(waiting), time.monotonic() + PATIENCE
        with poll:
            while left and (rest := until - time.monotonic()) > 0:
                silent = self._felix and all(found.get(one) for _, one in waiting.values() if meant[one])
                events = poll.poll(GRACE if silent else rest)
                if silent and not events:
                    break
                for fd, _ in events:
                    if fd in serving:
                        _serve(serving[fd])
                        continue
                    sock, one = waiting[fd]
                    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    answered = error in (0, errno.ECONNRESET)  # who answers resets what it has taken
                    assert answered or error in REFUSED, (one, error)
                    found[one], left = answered, left - 1
                    poll.unregister(fd)
        for _, one in waiting.values():
            found.setdefault(one, False)

    def _arrived(self, meant: set[tuple[str, int]]) -> set[tuple[str, int]]:
        """The SCTP packets that pods get: their own addresses, and the source ports."""
        found: set[tuple[str, int]] = set()
        until = time.monotonic() + PATIENCE
        while True:
            for pod, sock in self._sctp.items():
                found |= {(self.pods[pod][0], port) for port in _heard(sock)}
            rest = until - time.monotonic()
            if meant <= found or rest <= 0:
                return found
            select.select(self._sctp.values(), [], [], rest)

    def _listening(self, pod: str) -> Iterator[socket.socket]:
        for protocol, port in LISTENED:
            with netns.inside(self.netns(pod)):
                sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM)
            sock.setblocking(False)
            sock.bind(("::", port))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            if protocol == "TCP":
                sock.listen(64)
            yield sock

    def _raw(self, pod: str) -> socket.socket:
        with netns.inside(self.netns(pod)):
            sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_SCTP)
        sock.setblocking(False)
        return sock

    def _wire(self) -> None:
        first, second = map(self.netns, NODES)
        _ip(first, [f"link add under type veth peer name under netns {second}"])
        for number, (node, other) in enumerate(((first, "2"), (second, "1"))):
            _ip(node, list(self._node(NODES[number], str(number + 1), other)))
            sysctls = ("net.bridge.bridge-nf-call-iptables=1", "net.bridge.bridge-nf-call-ip6tables=1")
            more = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.rp_filter=0")
            # each REJECT is said, so none is waited for
            said = ("net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0", "net.ipv4.conf.default.rp_filter=0")
            subprocess.run(["ip", "netns", "exec", node, "sysctl", "-qw", *sysctls, *more, *said], check=True)
        for pod in self.pods:
            _ip(self.netns(pod), list(self._pod(pod)))

    def _node(self, node: str, own: str, other: str) -> Iterator[str]:
        yield "link set lo up"
        yield f"addr add 192.0.2.{own}/24 dev under"
        yield f"addr add 2001:db8::{own}/64 dev under nodad"
        yield "link set under up"
        yield "link add cni0 type bridge"
        yield "addr add 169.254.1.1/32 dev cni0"
        yield "addr add fe80::1/64 dev cni0 nodad"
        yield "link set cni0 up"
        for number, (pod, (v4, v6)) in enumerate(self.pods.items()):
            if self.node_of[pod] != node:
                yield f"route add {v4} via 192.0.2.{other}"
                yield f"route add {v6} via 2001:db8::{other}"
                continue
            if self._felix:
                device = cali(*pod.split("/"))
                yield f"link add {device} address {CALI_MAC} type veth peer name eth0 netns {self.netns(pod)}"
                yield f"link set {device} up"
                yield f"route add {v4} dev {device}"
                yield f"route add {v6} dev {device}"
                continue
            yield f"link add v{number} type veth peer name eth0 netns {self.netns(pod)}"
            yield f"link set v{number} master cni0 up"
            yield f"route add {v4} dev cni0"
            yield f"route add {v6} dev cni0"

    def _pod(self, pod: str) -> Iterator[str]:
        v4, v6 = self.pods[pod]
        yield "link set lo up"
        yield f"addr add {v4}/32 dev eth0"
        yield f"addr add {v6}/128 dev eth0 nodad"
        yield "link set eth0 up"
        if self._felix:
            yield f"neigh add 169.254.1.1 lladdr {CALI_MAC} dev eth0"
            yield f"neigh add fe80::1 lladdr {CALI_MAC} dev eth0"
        yield "route add 169.254.1.1 dev eth0"
        yield "route add default via 169.254.1.1 dev eth0"
        yield "route add default via fe80::1 dev eth0"
        for other, (mate4, mate6) in self.pods.items():
            if other != pod and self.node_of[other] == self.node_of[pod] and not self._felix:
                yield f"route add {mate4} dev eth0"
                yield f"route add {mate6} dev eth0"


class _Agent:
    """What keeps one node's rules for policies."""

    def __init__(
        self, stack: ExitStack, name: str, namespace: str, variant: iptables.Variant, files: Path, felix: bool
    ) -> None:
        self.name, self._namespace = name, namespace
        around = Surroundings(name, Ledger(files / f"{name}.ledger"), files)
        router = KubeRouter("kube-router", render, around)
        self._manager = Calico("calico", calico.render, around) if felix else router
        self._tables = []
        for family in FAMILIES:
            rules = iptables.open(namespace, family, variant, files / f"{name}.{family}.lock")
            part = self._manager.table_part(rules)
            table = Table(rules, [part])
            stack.callback(table.close)
            self._tables.append((family, part, table))

    def sync(self, snapshot: Snapshot) -> None:
        plane = self._manager.wanted(snapshot)
        assert plane is not None
        for family, part, table in self._tables:
            if not pick(snapshot.lab.spec.podCIDR, family):
                continue
            part.want(snapshot, tuple(rules for rules in plane.rules if rules.family == family))
            table.sync(trusting=True)
            assert part.failure is None, part.failure
        self._manager.settled(snapshot, self._namespace)


@contextmanager
def net(
    pods: Mapping[str, Sequence[str]], variant: iptables.Variant, files: Path, felix: bool = False
) -> Iterator[Net]:
    with ExitStack() as stack:
        yield Net(stack, pods, variant, files, felix)


def _heard(sock: socket.socket) -> Iterator[int]:
    """The source ports of packets that a raw socket has."""
    with contextlib.suppress(BlockingIOError):
        while packet := sock.recv(1000):
            yield struct.unpack_from("!H", packet, (packet[0] & 15) * 4)[0]


def _serve(sock: socket.socket) -> None:
    try:
        if sock.type == socket.SOCK_STREAM:
            sock.accept()[0].close()
        else:
            sock.sendto(*sock.recvfrom(100))
    except OSError as error:
        assert isinstance(error, (BlockingIOError, ConnectionError)), error


def _ip(namespace: str, commands: list[str]) -> None:
    subprocess.run(["ip", "-n", namespace, "-batch", "-"], input="\n".join(commands), text=True, check=True)
