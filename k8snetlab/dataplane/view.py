"""Everything in one namespace that decides where a packet goes, as the kernel has it at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Protocol

import msgspec

from k8snetlab.dataplane.families import network, parsed, same_family
from k8snetlab.dataplane.rules import ChainKey, Rules
from k8snetlab.dataplane.sets import IPSet

TABLES = ("local", "main", "default")
"""The routing tables every kernel asks, in this order (ip-rule(8))."""


class Interface(msgspec.Struct, frozen=True):
    """A device. `kind` is loopback, veth, bridge, vxlan, ipip or device; `peer` (namespace, name) the other end of a
    veth, if it is in the lab. `running` is false without carrier. `vni`, `local` and `port` are of a vxlan device.
    """

    name: str
    kind: str
    mac: str = ""
    mtu: int = 1500
    up: bool = True
    running: bool = True
    master: str = ""
    hairpin: bool = False
    peer: tuple[str, str] | None = None
    vni: int = 0
    local: str = ""
    port: int = 0
    queue: str = ""
    """How tc has it delay, lose or slow down what it sends: "netem delay 50ms"; "" for nothing of the kind."""
    asks: bool = False
    """A vxlan device whose misses go to the agent (l3miss or app_solicit)."""
    beyond: Mapping[str, tuple[str, str]] = {}
    """Of a machine's own device, to a network that is no part of the lab: the ends (namespace, name) of the machines
    there, by their addresses."""


class NextHop(msgspec.Struct, frozen=True):
    """One of several ways of a route, taken by `weight` in the sum of all weights of the connections."""

    dev: str
    via: str
    weight: int = 1

    def words(self) -> str:
        return f"nexthop{f' via {self.via}' if self.via else ''} dev {self.dev} weight {self.weight}"


class RouteEntry(msgspec.Struct, frozen=True):
    """A route of any table; `kind` as `ip route` writes it, "unicast" where it writes nothing.

    One of several next hops (multipath, ECMP) has the device of the first, and no `via`.
    """

    dst: str
    kind: str = "unicast"
    dev: str = ""
    via: str = ""
    src: str = ""
    metric: int = 0
    table: str = "main"
    kernel: bool = False
    """Made by the kernel itself, for an address."""
    protocol: str = "boot"
    """Who added it, as `ip route` writes it; "boot", which it leaves out, where whoever added it did not say."""
    hops: tuple[NextHop, ...] = ()

    @property
    def devices(self) -> frozenset[str]:
        return frozenset(hop.dev for hop in self.hops) or frozenset({self.dev})

    @property
    def ways(self) -> tuple[tuple[RouteEntry, float], ...]:
        """The route by each of its next hops, with the share of the connections that take it: the kernel chooses by a
        hash of their addresses."""
        whole = sum(hop.weight for hop in self.hops)
        ways = ((msgspec.structs.replace(self, dev=h.dev, via=h.via, hops=()), h.weight / whole) for h in self.hops)
        return tuple(ways) or ((self, 1.0),)

    def words(self) -> str:
        text = self.dst if self.kind == "unicast" else f"{self.kind} {self.dst}"
        text += f" via {self.via}" if self.via else ""
        text += f" dev {self.dev}" if self.dev and not self.hops else ""
        text += f" proto {self.protocol}" if self.protocol not in ("boot", "kernel") else ""
        text += f" src {self.src}" if self.src else ""
        text += f" metric {self.metric}" if self.metric else ""
        text += f" table {self.table}" if self.table != "main" else ""
        return " ".join((text, *(hop.words() for hop in self.hops)))


class NeighbourEntry(msgspec.Struct, frozen=True):
    dev: str
    dst: str
    lladdr: str
    state: str

    @property
    def usable(self) -> bool:
        return bool(self.lladdr) and self.state not in ("FAILED", "INCOMPLETE")

    def words(self) -> str:
        return f"{self.dst} dev {self.dev}{f' lladdr {self.lladdr}' if self.lladdr else ''} {self.state}"


class Forwarding(msgspec.Struct, frozen=True):
    """An entry of a forwarding database: a bridge's (`master` is the bridge, `dev` the port) or a vxlan device's."""

    dev: str
    lladdr: str
    master: str = ""
    dst: str = ""
    permanent: bool = False

    def words(self) -> str:
        text = f"{self.lladdr} dev {self.dev}"
        text += f" master {self.master}" if self.master else ""
        text += f" dst {self.dst} self" if self.dst else ""
        return text + (" permanent" if self.permanent else "")


class View(msgspec.Struct, frozen=True, dict=True):
    """One namespace. `place` is what people call it; `kind` pod, node, router or outside.

    `addresses` maps a device to its addresses. `chains` holds the rules of the family that was asked for, `policies`
    those of built-in chains, `counters` packets and bytes per rule. `listening` has (protocol, address, port), with the
    address "" for any, "0.0.0.0" and "::" for any of one family. `recent` has the names of the `recent` lists that hold
    an address, by that address. `beside` is the variant of iptables that holds rules as well as the lab's own ("" for
    none): they are among the others, in tables named by `rules.beside`. `sctp`: the kernel has that protocol.
    `sets` are ipsets that rules look into, by name. `announced` are addresses that its speaker answers for, though they
    are on no device.
    """

    netns: str
    place: str
    kind: str
    interfaces: Mapping[str, Interface] = {}
    addresses: Mapping[str, tuple[str, ...]] = {}
    routes: tuple[RouteEntry, ...] = ()
    neighbours: tuple[NeighbourEntry, ...] = ()
    forwarding: tuple[Forwarding, ...] = ()
    sysctls: Mapping[str, str] = {}
    chains: Mapping[ChainKey, Rules] = {}
    policies: Mapping[ChainKey, str] = {}
    counters: Mapping[ChainKey, tuple[tuple[int, int], ...]] = {}
    listening: frozenset[tuple[str, str, int]] = frozenset()
    recent: Mapping[str, frozenset[str]] = {}
    beside: str = ""
    sctp: bool = False
    sets: Mapping[str, IPSet] = {}
    announced: frozenset[str] = frozenset()

    @cached_property
    def own(self) -> tuple[str, ...]:
        """Every address of the namespace but loopback's."""
        return tuple(address for held in self.addresses.values() for address in held)

    def owns(self, address: str) -> bool:
        return address in self.own or parsed(address).is_loopback

    def sysctl(self, key: str, otherwise: str = "0") -> str:
        return self.sysctls.get(key, otherwise)

    def forwards(self, address: str) -> bool:
        return self.sysctl("net.ipv6.conf.all.forwarding" if ":" in address else "net.ipv4.ip_forward") != "0"

    def forwards_from(self, device: str, address: str) -> bool:
        """Whether what comes in by `device` is forwarded. IPv4 asks the device's own switch (ip_route_input_slow), the
        one that ip_forward sets for all; IPv6 has one for all."""
        key = f"net.ipv4.conf.{device.replace('.', '/')}.forwarding"
        return ":" in address or self.sysctl(key, "1") != "0"

    def filters_bridged(self, address: str) -> bool:
        return self.sysctl(f"net.bridge.bridge-nf-call-ip{'6' if ':' in address else ''}tables") != "0"

    def route(self, dst: str) -> tuple[RouteEntry | None, tuple[RouteEntry, ...]]:
        """The route that the kernel takes, and those that match as well but lose: a longer prefix, a lower metric or
        an earlier table wins."""
        address = parsed(dst)
        version, number = address.version, int(address)
        matching = [r for six, net, mask, r in self._ranked if six == version and number & mask == net]
        return (matching[0], tuple(matching[1:])) if matching else (None, ())

    @cached_property
    def _ranked(self) -> list[tuple[int, int, int, RouteEntry]]:
        """The routes that the kernel looks at, the first that it would take first: version, network, mask."""
        held = [(network(r.dst), r) for r in self.routes if r.table in TABLES]
        held.sort(key=lambda one: (TABLES.index(one[1].table), -one[0].prefixlen, one[1].metric))
        return [(net.version, int(net.network_address), int(net.netmask), r) for net, r in held]

    def source(self, route: RouteEntry, dst: str) -> str:
        """The address that a process's packet to `dst` gets by this route, "" for none."""
        if route.kind == "local":
            return dst
        held = [a for a in self.addresses.get(route.dev, ()) if same_family(a, dst)]
        return route.src or next(iter([*held, *(a for a in self.own if same_family(a, dst))]), "")

    def neighbour(self, dev: str, address: str) -> NeighbourEntry | None:
        return self._neighbours.get((dev, address))

    def port(self, bridge: str, mac: str) -> Forwarding | None:
        return self._ports.get((bridge, mac))

    @cached_property
    def _neighbours(self) -> dict[tuple[str, str], NeighbourEntry]:
        return {(n.dev, n.dst): n for n in reversed(self.neighbours)}

    @cached_property
    def _ports(self) -> dict[tuple[str, str], Forwarding]:
        return {(f.master, f.lladdr): f for f in reversed(self.forwarding)}

    def tunnel(self, dev: str, mac: str) -> Forwarding | None:
        return next((f for f in self.forwarding if (f.dev, f.lladdr) == (dev, mac) and f.dst), None)

    def listens(self, protocol: str, address: str, port: int) -> bool:
        anywhere = "::" if ":" in address else "0.0.0.0"
        return bool({(protocol, held, port) for held in (address, anywhere, "")} & self.listening)


class Views(Protocol):
    """The namespaces of a lab, each read when it is first asked for."""

    def __getitem__(self, netns: str) -> View: ...

    def home(self, address: str) -> str | None:
        """The namespace that is said to hold an address: where to look first, never an answer by itself."""
