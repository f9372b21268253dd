"""Whether a rule matches a packet, and with what probability. Decides every match that `syntax` reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from k8snetlab.dataplane.families import network, parsed
from k8snetlab.dataplane.packet import IPIP
from k8snetlab.dataplane.sets import IPSet
from k8snetlab.errors import UnsupportedError
from k8snetlab.iptables.syntax import RANDOM_UNIT, Match


class TraceError(UnsupportedError):
    """The rules cannot be followed: they jump in a circle, or to a chain that does not exist, or have a match that
    cannot be decided."""


class Packet(msgspec.Struct, frozen=True):
    """The first packet of a connection, unless `state` says ESTABLISHED, RELATED or INVALID.

    `in_interface` is "" for a packet that the node itself sends. `bridged`: it came in by a bridge's port, and iptables
    sees bridged frames.
    """

    src: str
    dst: str
    protocol: str = "tcp"
    dport: int = 0
    sport: int = 40000
    in_interface: str = ""
    out_interface: str = ""
    state: str = "NEW"
    mark: int = 0
    bridged: bool = False


class Host(msgspec.Struct, frozen=True):
    """What rules ask about a node: its own addresses (loopback is always one), and the interface towards a destination.

    `interfaces` are the addresses by interface: a masqueraded packet gets one of those of the interface that it leaves
    by. `recent` names the `recent` lists that hold the packet's source, which was sent to these endpoints before.
    `sets` are the namespace's ipsets, by name.
    """

    addresses: tuple[str, ...]
    route: Callable[[str], str] | None = None
    recent: frozenset[str] = frozenset()
    interfaces: Mapping[str, tuple[str, ...]] = {}
    sets: Mapping[str, IPSet] = {}

    def owns(self, address: str) -> bool:
        return address in self.addresses or parsed(address).is_loopback


def chance(matches: Iterable[Match], packet: Packet, host: Host, translated: bool) -> float:
    """The probability that all of `matches` hold: 0 or 1, unless one is random. `translated`: DNAT has changed the
    destination. Raises TraceError for a match that cannot be decided.
    """
    found = 1.0
    for match in matches:
        holds = _holds(match, packet, host, translated)
        found *= 1 - holds if match.negated else holds
        if not found:
            break
    return found


def _protocol(packet: Packet) -> str:
    """As iptables-save names it."""
    if packet.protocol == IPIP:
        return "ipencap"
    return "ipv6-icmp" if packet.protocol == "icmp" and ":" in packet.src else packet.protocol


def _holds(  # noqa: C901, PLR0912 (a row for each match of iptables)
    match: Match, packet: Packet, host: Host, translated: bool
) -> float:
    value = match.value
    match match.option:
        case "source":
            return parsed(packet.src) in network(value)
        case "destination":
            return parsed(packet.dst) in network(value)
        case "protocol":
            return value == _protocol(packet)
        case "sport":
            return _in_range(packet.sport, value)
        case "dport":
            return _in_range(packet.dport, value)
        case "dports":
            return any(_in_range(packet.dport, ports) for ports in value.split(","))
        case "sports":
            return any(_in_range(packet.sport, ports) for ports in value.split(","))
        case "in-interface":
            return _is_interface(packet.in_interface, value)
        case "out-interface":
            if host.route is None:
                raise TraceError(f"a rule asks for the interface {value} and no routes are given")
            return _is_interface(packet.out_interface, value)
        case "ctstate":
            states = {packet.state} | ({"DNAT"} if translated else set())
            return bool(states & set(value.split(",")))
        case "mark":
            wanted, mask = (int(part, 16) for part in value.split("/"))
            return packet.mark & mask == wanted
        case "src-type" | "dst-type":
            return _is_local(packet.src if match.option == "src-type" else packet.dst, value, packet, host)
        case "probability":
            return int(value) / RANDOM_UNIT
        case "rcheck":
            return value.split()[0] in host.recent
        case "set" | "nfacct" | "limit" | "limit-burst":
            return True
        case "physdev-is-in":
            return packet.bridged
        case "physdev-is-bridged":
            return packet.bridged and packet.in_interface == packet.out_interface
        case "icmp-type":
            # What is no answer is an echo request, of code 0.
            kind = "128" if ":" in packet.src else "8"
            return packet.protocol == "icmp" and value in (kind, f"{kind}/0")
        case "tcp-flags":
            return _has_flags(packet, value)
        case "match-set":
            name, end = value.split()
            if name not in host.sets:
                raise TraceError(f"a rule asks for the ipset {name}, which is not known")
            address, port = (packet.src, packet.sport) if end.startswith("src") else (packet.dst, packet.dport)
            return host.sets[name].has(address, packet.protocol, port)
        case option:
            raise TraceError(f"the match {option} cannot be decided")


def _is_local(address: str, value: str, packet: Packet, host: Host) -> bool:
    """`value` is LOCAL, and perhaps of which of the packet's interfaces."""
    if not (interface := {"in": packet.in_interface, "out": packet.out_interface}.get(value.partition(" ")[2], "")):
        return host.owns(address)
    return address in host.interfaces.get(interface, ())


def _has_flags(packet: Packet, value: str) -> bool:
    """Of a packet that opens a connection, or of the answer to one."""
    mask, wanted = (set(part.split(",")) - {"NONE"} for part in value.split())
    return ({"SYN"} if packet.state == "NEW" else {"SYN", "ACK"}) & mask == wanted


def _in_range(port: int, ports: str) -> bool:
    first, _, last = ports.partition(":")
    return int(first) <= port <= int(last or first)


def _is_interface(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern
