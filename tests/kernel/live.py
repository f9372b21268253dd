"""A running lab seen twice: what really happens to a packet, and what the tracer says of it.

`Live.ask` sends a real packet from a place. `Live.predict` follows the same packet, as it leaves its source, through
the rules that each node's kernel holds, from node to node. Both speak of `Fate`s.
"""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from k8snetlab.dataplane.rules import ChainKey, Family, Rules
from k8snetlab.iptables.matching import Host, Packet
from k8snetlab.kernel import iptables, netns, sysctl
from k8snetlab.testing import Lab
from k8snetlab.trace.tracer import Outcome, trace

PATIENCE, IMPATIENCE = 15.0, 0.3
"""Seconds without an answer after which a packet counts as lost: where one is awaited, and where none is."""
TRIES = 60
"""So many are sent at most until every endpoint that may answer has: one of three is missed by chance once in 10^10."""

ALL_ICMP = {
    "net.ipv4.icmp_ratelimit": "0",
    "net.ipv4.icmp_msgs_per_sec": "100000",
    "net.ipv4.icmp_msgs_burst": "100000",
    "net.ipv6.icmp.ratelimit": "0",
}
"""Every refusal is told, however many there are."""
HOPS = 8
"""Nodes that a packet may pass before it is taken to go in circles."""


class Fate(NamedTuple):
    """`what` is answered, refused or lost (dropped, or nobody's); `endpoint` is the address that answered, `client`
    whom it saw."""

    what: str
    endpoint: str = ""
    client: str = ""


class Place(NamedTuple):
    """A namespace to send from. `node` is "" for the outside host."""

    name: str
    netns: str
    node: str
    addresses: tuple[str, ...]


class Target(NamedTuple):
    name: str
    address: str
    port: int
    protocol: str = "tcp"


class NodeView(NamedTuple):
    """A node as its kernel has it now."""

    netns: str
    interfaces: dict[str, tuple[str, ...]]
    rules: dict[Family, dict[ChainKey, Rules]]

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(address for found in self.interfaces.values() for address in found)


class Live:
    """The lab as it is now: make a new one when its rules have changed."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        _route.cache_clear()
        self.variant: iptables.Variant = lab.json("status")["iptables"]
        self.nodes = {
            n["metadata"]["name"]: self._node(n["metadata"]["name"]) for n in lab.json("get", "nodes")["items"]
        }
        self.places = {name: Place(name, view.netns, name, view.addresses) for name, view in self.nodes.items()}
        for pod in lab.json("get", "pods")["items"]:
            name, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
            if not pod["spec"].get("hostNetwork"):
                ips = tuple(ip["ip"] for ip in pod["status"]["podIPs"])
                self.places[name] = Place(name, lab.netns("default", name), node, ips)
        self.places["outside"] = Place("outside", lab.netns("outside"), "", _all(_interfaces(lab.netns("outside"))))
        for place in self.places.values():
            sysctl.write(place.netns, ALL_ICMP)
        self.homes = {
            address: place.node for place in self.places.values() if place.node for address in place.addresses
        }

    def refresh(self) -> None:
        """The rules and addresses have changed; nodes and pods are the same."""
        _route.cache_clear()
        self.nodes = {name: self._node(name) for name in self.nodes}

    # --- what happens -----------------------------------------------------------------------------------------------

    def check(self, cases: list[tuple[str, Target]]) -> None:
        """Every packet goes where the tracer says, and every way the tracer names is gone by some packet."""
        with ThreadPoolExecutor(64) as pool:
            problems = [problem for problem in pool.map(lambda case: self._compare(*case), cases) if problem]
        assert not problems, "\n".join(problems)

    def _compare(self, place: str, target: Target) -> str:
        expected = self.predict(place, target)
        seen: set[Fate] = set()
        for _ in range(TRIES):
            seen.add(self.ask(place, target, IMPATIENCE if expected == {Fate("lost")} else PATIENCE))
            if seen >= expected or not seen <= expected:
                break
        if seen == expected:
            return ""
        return f"{place} -> {target}: the tracer says {sorted(expected)}, seen was {sorted(seen)}"

    def ask(self, place: str, target: Target, patience: float = PATIENCE) -> Fate:
        """Sends one packet (or opens one connection) and tells what became of it."""
        with self._socket(self.places[place].netns, target) as sock:
            sock.settimeout(patience)
            return exchange(sock, target)

    def source(self, place: str, target: Target) -> str:
        """The address that a packet to the target leaves its place with."""
        with self._socket(self.places[place].netns, target._replace(protocol="udp")) as sock:
            sock.connect((target.address, target.port))
            return str(sock.getsockname()[0])

    @contextlib.contextmanager
    def _socket(self, namespace: str, target: Target) -> Iterator[socket.socket]:
        family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
        kind = socket.SOCK_DGRAM if target.protocol == "udp" else socket.SOCK_STREAM
        with netns.inside(namespace):
            sock = socket.socket(family, kind)
        with sock:
            yield sock

    # --- what is said -----------------------------------------------------------------------------------------------

    def predict(self, place: str, target: Target) -> set[Fate]:
        """Every fate that a packet from the place may have."""
        start = self.places[place]
        if not _route(start.netns, target.address):
            return {Fate("lost")}
        packet = Packet(self.source(place, target), target.address, target.protocol, target.port)
        if start.node and place != start.node:
            return self._arrive(start.node, packet, "cni0", HOPS, bridged=True)
        if start.node:
            return self._trace(start.node, packet, HOPS)
        return self._cross(packet, HOPS)

    def _arrive(self, node: str, packet: Packet, interface: str, hops: int, bridged: bool = False) -> set[Fate]:
        if packet.src in self.nodes[node].addresses or not hops:
            return {
                Fate("lost")
            }  # a martian: no packet from elsewhere has the node's own address; or it goes in circles
        sent = Packet(packet.src, packet.dst, packet.protocol, packet.dport, in_interface=interface, bridged=bridged)
        return self._trace(node, sent, hops - 1)

    def _trace(self, node: str, packet: Packet, hops: int) -> set[Fate]:
        view, family = self.nodes[node], _family(packet.dst)
        host = Host(view.addresses, lambda dst: route(view.netns, dst), self._recent(node, packet.src), view.interfaces)
        outcomes = trace(view.rules[family], packet, host)
        return {fate for outcome in outcomes for fate in self._follow(node, outcome, hops)}

    def _follow(self, node: str, outcome: Outcome, hops: int) -> set[Fate]:
        packet = outcome.packet
        if outcome.verdict == "dropped":
            return {Fate("lost")}
        if outcome.verdict == "rejected":
            return {Fate("refused")}
        if outcome.verdict == "delivered":
            return {self._served(packet, self.nodes[node].netns)}
        at = self.homes.get(packet.dst)
        if at == node:
            return {self._served(packet, self._place_of(packet.dst).netns)}
        if at:
            return self._arrive(at, packet, route(self.nodes[node].netns, packet.dst), hops)
        return self._cross(packet, hops)

    def _cross(self, packet: Packet, hops: int) -> set[Fate]:
        """To the router, which knows a node for the destination, or not."""
        via = _next_hop(self.lab.netns("router"), packet.dst) or packet.dst
        if via in self.homes:
            return self._arrive(self.homes[via], packet, "eth0", hops)
        if packet.dst in self.places["outside"].addresses:
            return {self._served(packet, self.places["outside"].netns)}
        return {Fate("lost")}

    def _served(self, packet: Packet, namespace: str) -> Fate:
        listening = packet.dport in _listening(namespace, packet.protocol)
        return Fate("answered", packet.dst, packet.src) if listening else Fate("refused")

    def _place_of(self, address: str) -> Place:
        return next(place for place in self.places.values() if address in place.addresses)

    def _node(self, name: str) -> NodeView:
        namespace = self.lab.netns(name)
        lock = Path(self.lab.run_directory / "test.lock")
        families: tuple[Family, ...] = ("ipv4", "ipv6")
        rules = {family: iptables.open(namespace, family, self.variant, lock).save() for family in families}
        return NodeView(namespace, _interfaces(namespace), rules)

    def _recent(self, node: str, source: str) -> frozenset[str]:
        """The `recent` lists of a node that hold the source."""
        with netns.inside(self.nodes[node].netns):
            lists = Path("/proc/thread-self/net/xt_recent")
            if not lists.exists():
                return frozenset()
            return frozenset(file.name for file in lists.iterdir() if f"src={source} " in file.read_text())


class Responder:
    """Answers on one TCP or UDP port of a namespace as a pod does, with the client it saw."""

    def __init__(self, namespace: str, port: int, protocol: str = "tcp", address: str = "0.0.0.0") -> None:
        kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
        with netns.inside(namespace):
            self._socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((address, port))
        self._udp = protocol == "udp"
        if not self._udp:
            self._socket.listen(64)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self) -> Responder:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                if self._udp:
                    data, peer = self._socket.recvfrom(2048)
                    if not data:
                        return
                    self._socket.sendto(_line(self._socket.getsockname()[0], peer[0]), peer)
                    continue
                connection, peer = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.recv(2048)
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + _line(connection.getsockname()[0], peer[0]))


def exchange(sock: socket.socket, target: Target) -> Fate:
    """Asks over a socket that is not yet connected (or, for UDP, over one that is)."""
    try:
        if target.protocol == "udp":
            sock.connect((target.address, target.port))
            answer = _repeated(sock)
        else:
            sock.connect((target.address, target.port))
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b""
            while not answer.partition(b"\r\n\r\n")[2].endswith(b"\n") and (part := sock.recv(4096)):
                answer += part
    except ConnectionRefusedError:
        return Fate("refused")
    except TimeoutError:
        return Fate("lost")
    except OSError as error:
        if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            return Fate("lost")
        raise
    said = json.loads((answer.partition(b"\r\n\r\n")[2] or answer).splitlines()[0])
    return Fate("answered", said["ip"], said["client"])


def _repeated(sock: socket.socket) -> bytes:
    """The answer to a datagram, which is sent three times at most: labs share the machine's table of neighbours, and
    where that is full the kernel drops a first packet."""
    whole = sock.gettimeout() or PATIENCE
    for _ in range(3):
        sock.settimeout(whole / 3)
        with contextlib.suppress(PermissionError):  # of a refusal in OUTPUT too, which the ICMP message then tells
            sock.send(b"x")
        try:
            return sock.recv(2048)
        except TimeoutError:
            continue
        finally:
            sock.settimeout(whole)
    raise TimeoutError


def _line(ip: str, client: str) -> bytes:
    return json.dumps({"ip": ip, "client": client}).encode() + b"\n"


def _family(address: str) -> Family:
    return "ipv6" if ":" in address else "ipv4"


def _interfaces(namespace: str) -> dict[str, tuple[str, ...]]:
    """The global addresses of each interface."""
    found = json.loads(_ip(namespace, "-j", "addr"))
    return {
        link["ifname"]: tuple(a["local"] for a in link["addr_info"] if a["scope"] == "global")
        for link in found
        if "ifname" in link
    }


def _all(interfaces: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(address for addresses in interfaces.values() for address in addresses)


@lru_cache(maxsize=4096)
def _route(namespace: str, dst: str) -> dict[str, Any]:
    done = subprocess.run(["ip", "-n", namespace, "-j", "route", "get", dst], capture_output=True, text=True)
    return json.loads(done.stdout)[0] if done.returncode == 0 else {}


def route(namespace: str, dst: str) -> str:
    """The interface that a packet leaves by, as the kernel says."""
    return str(_route(namespace, dst).get("dev", ""))


def _next_hop(namespace: str, dst: str) -> str:
    return str(_route(namespace, dst).get("gateway", ""))


def _listening(namespace: str, protocol: str) -> set[int]:
    """The ports with a listening socket in a namespace, on any address."""
    with netns.inside(namespace):
        text = "".join(Path(f"/proc/thread-self/net/{protocol}{six}").read_text() for six in ("", "6"))
    state = "0A" if protocol == "tcp" else "07"
    fields = (line.split() for line in text.splitlines() if ":" in line.partition("local_address")[0])
    return {int(field[1].rpartition(":")[2], 16) for field in fields if field[3] == state}


def _ip(namespace: str, *words: str) -> str:
    return subprocess.run(["ip", "-n", namespace, *words], capture_output=True, text=True, check=True).stdout
