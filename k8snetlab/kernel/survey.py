"""Read all of a namespace that decides where a packet goes, at this moment: what a trace is predicted from.

`read.read` gives what the lab desires in a shape that compares; this gives what the kernel obeys, its own entries too.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any, TypeVar

from k8snetlab.dataplane.names import is_host
from k8snetlab.dataplane.rules import ChainKey, Family, Rules, beside
from k8snetlab.dataplane.view import Forwarding, Interface, NeighbourEntry, NextHop, RouteEntry, View
from k8snetlab.errors import NotFoundError
from k8snetlab.kernel import decoded, ipsets, iptables, listeners, netns, shaping, sysctl
from k8snetlab.kernel.decoded import STATES, address, kind_of, mac, whole
from k8snetlab.kernel.iptables import Variant, saved
from k8snetlab.kernel.iptables.saved import Saved
from k8snetlab.kernel.messages import (
    AF_BRIDGE,
    IFA_ADDRESS,
    IFA_LOCAL,
    IFF_UP,
    IFLA_ADDRESS,
    IFLA_BRPORT_MODE,
    IFLA_INFO_DATA,
    IFLA_INFO_SLAVE_DATA,
    IFLA_LINK,
    IFLA_LINK_NETNSID,
    IFLA_MASTER,
    IFLA_MTU,
    IFLA_VXLAN_ID,
    IFLA_VXLAN_L3MISS,
    IFLA_VXLAN_LOCAL,
    IFLA_VXLAN_LOCAL6,
    IFLA_VXLAN_PORT,
    NDA_DST,
    NDA_LLADDR,
    NDA_MASTER,
    NUD,
    RTA_DST,
    RTA_OIF,
    RTA_PREFSRC,
    RTA_PRIORITY,
    RTPROT_KERNEL,
)
from k8snetlab.kernel.netlink import Netlink, attributes

_Held = TypeVar("_Held")
IFF_LOOPBACK, IFF_LOWER_UP = 0x8, 0x10000
_KINDS = {1: "unicast", 2: "local", 3: "broadcast", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
_TABLES = {255: "local", 254: "main", 253: "default"}
PROTOCOLS = {0: "unspec", 1: "redirect", 2: "kernel", 3: "boot", 4: "static", 8: "gated", 9: "ra", 10: "mrt"}
PROTOCOLS |= {11: "zebra", 12: "bird", 13: "dnrouted", 14: "xorp", 15: "ntk", 16: "dhcp", 17: "mrouted", 42: "babel"}
PROTOCOLS |= {186: "bgp", 187: "isis", 188: "ospf", 189: "rip", 192: "eigrp"}
"""Who added a route, as `ip route` writes it. Source: linux/rtnetlink.h."""
_RTM_GETNSID, _NETNSA_NSID, _NETNSA_FD = 90, 1, 3


def survey(
    namespace: str,
    family: Family,
    variant: Variant,
    rules: Callable[[str, Family, Variant], Saved],
    *,
    place: str,
    kind: str,
    others: Iterable[str] = (),
) -> View:
    """The namespace as it is. `others` are the namespaces that its cables may lead to; `place` and `kind` go into the
    answer; `rules` reads what iptables holds. Raises NotFoundError, KernelError.
    """
    others = tuple(others)
    # Once, where it can be: each of the questions below enters by itself. From inside, the host's is not to be found.
    once = contextlib.nullcontext() if any(map(is_host, others)) else netns.inside(namespace)
    with once:
        return _surveyed(namespace, family, variant, rules, place=place, kind=kind, others=others)


def _surveyed(
    namespace: str,
    family: Family,
    variant: Variant,
    rules: Callable[[str, Family, Variant], Saved],
    *,
    place: str,
    kind: str,
    others: Iterable[str],
) -> View:
    six = family == "ipv6"
    with Netlink(namespace) as netlink:
        links = decoded.devices(netlink)
        queues = shaping.queues(netlink, links)
        names = {index: link.name for index, link in links.items()}
        addresses = _addresses(netlink, names)
        routes = tuple(_routes(netlink, names, six))
        neighbours = tuple(_neighbours(netlink, names))
        switching = any(kind_of(link.info) in ("bridge", "vxlan") for link in links.values())
        forwarding = tuple(_forwarding(netlink, names)) if switching else ()
        values = dict(_confs(netlink, names, six))
    behind = _peers(namespace, others, {_number_of_netns(link) for link in links.values()} - {-1})
    values |= sysctl.read(namespace, [f"net.bridge.bridge-nf-call-ip{'6' if six else ''}tables"] if switching else ())
    asking = _asking(namespace, [name for name in names.values() if name.startswith("flannel")], six)
    held = rules(namespace, family, variant)
    associations = _sctp(namespace)
    other, more = iptables.beside(namespace, family, variant)
    strange = saved.everything(more)
    return View(
        netns=namespace,
        place=place,
        kind=kind,
        interfaces={
            link.name: _interface(link, names, behind, asking, queue=queues.get(link.name, ""))
            for link in links.values()
        },
        addresses=addresses,
        routes=routes,
        neighbours=neighbours,
        forwarding=forwarding,
        sysctls=values,
        chains={**held.chains, **_beside(strange.chains, other)},
        policies={**held.policies, **_beside(strange.policies, other)},
        counters={**held.counters, **_beside(strange.counters, other)},
        beside=other if more else "",
        listening=listeners.read(namespace).union(associations or ()),
        sctp=associations is not None,
        recent=_recent(namespace) if held.chains or strange.chains else {},
        sets=ipsets.held(namespace, ("",)) if _looks_into_sets(held.chains) else {},
    )


def _interface(
    link: decoded.Device,
    names: Mapping[int, str],
    behind: Mapping[int, tuple[str, Mapping[int, str]]],
    asking: set[str],
    *,
    queue: str,
) -> Interface:
    name, given, info = link.name, link.given, link.info
    kind, master = kind_of(info), whole(given, IFLA_MASTER)
    port = attributes(info.get(IFLA_INFO_SLAVE_DATA, b"")) if master else {}
    data = attributes(info.get(IFLA_INFO_DATA, b"")) if kind == "vxlan" else {}
    other, others = behind.get(_number_of_netns(link), ("", {})) if kind == "veth" else ("", {})
    peer = others.get(whole(given, IFLA_LINK), "")
    return Interface(
        name,
        "loopback" if link.flags & IFF_LOOPBACK else kind if kind in ("veth", "bridge", "vxlan", "ipip") else "device",
        mac(given, IFLA_ADDRESS),
        whole(given, IFLA_MTU),
        up=bool(link.flags & IFF_UP),
        running=bool(link.flags & IFF_LOWER_UP),
        master=names.get(master, ""),
        hairpin=bool(whole(port, IFLA_BRPORT_MODE)),
        peer=(other, peer) if peer else None,
        vni=whole(data, IFLA_VXLAN_ID),
        local=address(data, IFLA_VXLAN_LOCAL) or address(data, IFLA_VXLAN_LOCAL6),
        port=int.from_bytes(data.get(IFLA_VXLAN_PORT, b""), "big"),
        queue=queue,
        asks=bool(data and (whole(data, IFLA_VXLAN_L3MISS) or name in asking)),
    )


def _number_of_netns(link: decoded.Device) -> int:
    """By which this namespace knows the one that the link leads to; -1 where it leads nowhere."""
    number = link.given.get(IFLA_LINK_NETNSID, b"")
    return int.from_bytes(number, sys.byteorder, signed=True) if number and whole(link.given, IFLA_LINK) else -1


def _confs(netlink: Netlink, names: Mapping[int, str], six: bool) -> Iterator[tuple[str, str]]:
    """Forwarding, and of IPv4 rp_filter and proxy_arp, as sysctls, one question in place of a file for each."""
    for index, forwarding, rp_filter, proxy_arp in decoded.confs(netlink, socket.AF_INET6 if six else socket.AF_INET):
        if index == decoded.ALL_DEVICES:
            yield "net.ipv6.conf.all.forwarding" if six else "net.ipv4.ip_forward", str(forwarding)
        name = "all" if index == decoded.ALL_DEVICES else names.get(index, "").replace(".", "/")
        if name and not six:
            yield f"net.ipv4.conf.{name}.rp_filter", str(rp_filter)
            yield f"net.ipv4.conf.{name}.forwarding", str(forwarding)
            yield f"net.ipv4.conf.{name}.proxy_arp", str(proxy_arp)


def _asking(namespace: str, tunnels: Iterable[str], six: bool) -> set[str]:
    """Those of whose neighbours user space is asked (app_solicit)."""
    keys = {f"net.ipv{6 if six else 4}.neigh.{name.replace('.', '/')}.app_solicit": name for name in tunnels}
    return {keys[key] for key, value in sysctl.read(namespace, keys).items() if value != "0"}


def _addresses(netlink: Netlink, names: Mapping[int, str]) -> dict[str, tuple[str, ...]]:
    """Without loopback's and link-local ones."""
    found: dict[str, list[str]] = defaultdict(list)
    for _, _, index, given in decoded.addresses(netlink):
        held = address(given, IFA_LOCAL) or address(given, IFA_ADDRESS)
        if not held.startswith(("fe80:", "127.")) and held != "::1":
            found[names.get(index, "")].append(held)
    return {dev: tuple(held) for dev, held in found.items()}


def _routes(netlink: Netlink, names: Mapping[int, str], six: bool) -> Iterator[RouteEntry]:
    everything = "::/0" if six else "0.0.0.0/0"
    for _, length, table, protocol, number, _, given in decoded.routes(
        netlink, socket.AF_INET6 if six else socket.AF_INET
    ):
        kind, target = _KINDS.get(number), address(given, RTA_DST)
        if kind is None or target.startswith(("fe80:", "ff00:")):
            continue
        several = decoded.next_hops(given)
        hops = tuple(NextHop(names.get(hop.ifindex, ""), decoded.gateway(hop.given), hop.weight) for hop in several)
        yield RouteEntry(
            f"{target}/{length}" if target else everything,
            kind,
            hops[0].dev if hops else names.get(whole(given, RTA_OIF), ""),
            decoded.gateway(given),
            address(given, RTA_PREFSRC),
            whole(given, RTA_PRIORITY),
            _TABLES.get(table, str(table)),
            kernel=protocol == RTPROT_KERNEL,
            protocol=PROTOCOLS.get(protocol, str(protocol)),
            hops=hops,
        )


def _neighbours(netlink: Netlink, names: Mapping[int, str]) -> Iterator[NeighbourEntry]:
    for family, index, held, _, given in decoded.neighbours(netlink):
        state = STATES.get(held, "")
        if family in (socket.AF_INET, socket.AF_INET6) and state != "NOARP":
            yield NeighbourEntry(names.get(index, ""), address(given, NDA_DST), mac(given, NDA_LLADDR), state)


def _forwarding(netlink: Netlink, names: Mapping[int, str]) -> Iterator[Forwarding]:
    """Unicast entries."""
    for _, index, state, _, given in decoded.neighbours(netlink, AF_BRIDGE):
        station = given.get(NDA_LLADDR, b"")
        master, dst = names.get(whole(given, NDA_MASTER), ""), address(given, NDA_DST)
        if station and not station[0] & 1 and (master or dst):
            permanent = bool(state & NUD["PERMANENT"])
            yield Forwarding(names.get(index, ""), station.hex(":"), master, dst, permanent)


def _peers(namespace: str, others: Iterable[str], wanted: Set[int]) -> dict[int, tuple[str, Mapping[int, str]]]:
    """The namespaces by the number that this one knows them by, each with the names of its devices: of those `wanted`.

    A number outlives the cable it was given for, so more may be known. Source: RTM_GETNSID, linux/net_namespace.h.
    """
    found: dict[int, tuple[str, Mapping[int, str]]] = {}
    with netns.inside(namespace):
        asker = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    with asker:
        for other in others:
            if len(found) == len(wanted):
                break
            known = _nsid(asker, other)
            if known in wanted:
                found[known] = (other, _LazyNames(other))
    return found


def _nsid(asker: socket.socket, other: str) -> int:
    """-1 for a namespace that it does not know, or that is gone."""
    try:
        fd = netns.opened(other)
    except NotFoundError:
        return -1
    try:
        asker.send(struct.pack("=IHHIIB3xHHI", 28, _RTM_GETNSID, 1, 1, 0, 0, 8, _NETNSA_FD, fd))
        answer = asker.recv(4096)
    finally:
        os.close(fd)
    kind = struct.unpack_from("=H", answer, 4)[0]
    known = attributes(answer[20:]).get(_NETNSA_NSID) if kind != 2 else None
    return int(struct.unpack("=i", known)[0]) if known else -1


class _LazyNames(dict[int, str]):
    """Device names of a namespace, each asked for by itself: of a node's hundred a pod's cable leads to one."""

    def __init__(self, namespace: str) -> None:
        super().__init__()
        self._namespace = namespace

    def get(self, index: int, default: Any = None) -> Any:
        if index and index not in self:
            with contextlib.suppress(NotFoundError, OSError), netns.inside(self._namespace):  # unless it has gone
                self[index] = socket.if_indextoname(index)
        return super().get(index, default)


def _beside(found: Mapping[ChainKey, _Held], variant: Variant) -> dict[ChainKey, _Held]:
    return {ChainKey(beside(key.table, variant), key.chain): held for key, held in found.items()}


def _sctp(namespace: str) -> list[tuple[str, str, int]] | None:
    """Endpoints that listen, as `listeners.read` has them; None where the kernel has no SCTP (or has not loaded it)."""
    with netns.inside(namespace):
        try:
            text = Path("/proc/thread-self/net/sctp/eps").read_text()
        except FileNotFoundError:
            return None
    return list(endpoints(text))


def endpoints(text: str) -> Iterator[tuple[str, str, int]]:
    """Of /proc/net/sctp/eps: columns ENDPT SOCK STY SST HBKT LPORT UID INODE LADDRS; state 10 listens."""
    for line in text.splitlines()[1:]:
        words = line.split()
        if words[3] == "10":
            for address in words[8:]:
                yield "sctp", "" if address in ("0.0.0.0", "::") else address.lower(), int(words[5])


def _looks_into_sets(chains: Mapping[ChainKey, Rules]) -> bool:
    return any(" --match-set " in rule for rules in chains.values() for rule in rules)


def _recent(namespace: str) -> dict[str, frozenset[str]]:
    """The `recent` lists that hold an address (xt_recent)."""
    found: dict[str, set[str]] = defaultdict(set)
    with netns.inside(namespace):
        lists = Path("/proc/thread-self/net/xt_recent")
        if lists.exists():
            for file in lists.iterdir():
                with contextlib.suppress(OSError):  # it goes with its last rule
                    for address in re.findall(r"src=(\S+) ", file.read_text()):
                        found[address].add(file.name)
    return {address: frozenset(lists) for address, lists in found.items()}
