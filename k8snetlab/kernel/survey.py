"""Read all of a namespace that decides where a packet goes, at this moment: what a trace is predicted from.

`read.read` gives what the lab desires in a shape that compares; this gives what the kernel obeys, its own entries too.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any, TypeVar

from k8snetlab.dataplane.rules import ChainKey, Family, beside
from k8snetlab.dataplane.view import Forwarding, Interface, NeighbourEntry, RouteEntry, View
from k8snetlab.errors import NotFoundError
from k8snetlab.kernel import iptables, listeners, netns, sysctl
from k8snetlab.kernel.decoded import dump
from k8snetlab.kernel.iptables import Variant, saved
from k8snetlab.kernel.messages import (
    AF_BRIDGE,
    IFF_UP,
    IFLA_EXT_MASK,
    NUD,
    RTEXT_FILTER_SKIP_STATS,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_GETROUTE,
    RTPROT_KERNEL,
    ifaddrmsg,
    ifinfomsg,
    ndmsg,
    number,
    rtmsg,
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
_STATES = {number: name for name, number in NUD.items()}
_RTM_GETNSID, _NETNSA_NSID, _NETNSA_FD = 90, 1, 3
_POLICY = re.compile(r"^:(\S+) (ACCEPT|DROP)")


def survey(
    namespace: str,
    family: Family,
    variant: Variant,
    lockfile: Path,
    *,
    place: str,
    kind: str,
    others: Iterable[str] = (),
) -> View:
    """The namespace as it is. `others` are the namespaces that its cables may lead to; `place` and `kind` go into the
    answer. Raises NotFoundError, KernelError.
    """
    with Netlink(namespace) as netlink:
        links = dump(netlink, RTM_GETLINK, ifinfomsg() + number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS))
        names = {link["index"]: str(link.get_attr("IFLA_IFNAME")) for link in links}
        addresses = _addresses(netlink, names)
        routes = tuple(_routes(netlink, names, family))
        neighbours = tuple(_neighbours(netlink, names))
        forwarding = tuple(_forwarding(netlink, names))
    cables = [link for link in links if link.get_attr("IFLA_LINK") and link.get_attr("IFLA_LINK_NETNSID") is not None]
    behind = _peers(namespace, others, {link.get_attr("IFLA_LINK_NETNSID") for link in cables})
    six = family == "ipv6"
    keys = ["net.ipv6.conf.all.forwarding" if six else "net.ipv4.ip_forward"]
    keys.append(f"net.bridge.bridge-nf-call-ip{'6' if six else ''}tables")
    devices = [name.replace(".", "/") for name in names.values()]
    if not six:
        keys += [f"net.ipv4.conf.{name}.rp_filter" for name in ("all", *devices)]
    asks = [f"net.ipv{6 if six else 4}.neigh.{name}.app_solicit" for name in devices if name.startswith("flannel")]
    values = sysctl.read(namespace, [*keys, *asks])
    asking = {key.split(".", 3)[3].rpartition(".")[0].replace("/", ".") for key in asks if values.get(key, "0") != "0"}
    text = iptables.held(namespace, family, variant, lockfile)
    associations = _sctp(namespace)
    other, more = iptables.beside(namespace, family, variant)
    return View(
        netns=namespace,
        place=place,
        kind=kind,
        interfaces={name: _interface(link, names, behind, asking) for link in links if (name := names[link["index"]])},
        addresses=addresses,
        routes=routes,
        neighbours=neighbours,
        forwarding=forwarding,
        sysctls=values,
        chains=saved.chains(text) | _beside(saved.chains(more), other),
        policies=_policies(text) | _beside(_policies(more), other),
        counters=saved.counters(text) | _beside(saved.counters(more), other),
        beside=other if more else "",
        listening=listeners.read(namespace).union(associations or ()),
        sctp=associations is not None,
        recent=_recent(namespace),
    )


def _interface(
    link: Any, names: Mapping[int, str], behind: Mapping[int, tuple[str, Mapping[int, str]]], asking: set[str]
) -> Interface:
    name = names[link["index"]]
    info = link.get_attr("IFLA_LINKINFO")
    kind = (info.get_attr("IFLA_INFO_KIND") if info else "") or ""
    master = link.get_attr("IFLA_MASTER")
    port = info.get_attr("IFLA_INFO_SLAVE_DATA") if info and master else None
    data = info.get_attr("IFLA_INFO_DATA") if kind == "vxlan" else None
    other, others = behind.get(link.get_attr("IFLA_LINK_NETNSID"), ("", {})) if kind == "veth" else ("", {})
    peer = others.get(link.get_attr("IFLA_LINK") or 0, "")
    return Interface(
        name,
        "loopback" if link["flags"] & IFF_LOOPBACK else kind if kind in ("veth", "bridge", "vxlan") else "device",
        link.get_attr("IFLA_ADDRESS") or "",
        link.get_attr("IFLA_MTU"),
        up=bool(link["flags"] & IFF_UP),
        running=bool(link["flags"] & IFF_LOWER_UP),
        master=names.get(master, ""),
        hairpin=bool(port and port.get_attr("IFLA_BRPORT_MODE")),
        peer=(other, peer) if peer else None,
        vni=data.get_attr("IFLA_VXLAN_ID") if data else 0,
        local=(data.get_attr("IFLA_VXLAN_LOCAL") or data.get_attr("IFLA_VXLAN_LOCAL6") or "") if data else "",
        port=data.get_attr("IFLA_VXLAN_PORT") if data else 0,
        asks=bool(data and (data.get_attr("IFLA_VXLAN_L3MISS") or name in asking)),
    )


def _addresses(netlink: Netlink, names: Mapping[int, str]) -> dict[str, tuple[str, ...]]:
    """Without loopback's and link-local ones."""
    found: dict[str, list[str]] = defaultdict(list)
    for message in dump(netlink, RTM_GETADDR, ifaddrmsg()):
        address = str(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))
        if not address.startswith(("fe80:", "127.")) and address != "::1":
            found[names.get(message["index"], "")].append(address)
    return {dev: tuple(held) for dev, held in found.items()}


def _routes(netlink: Netlink, names: Mapping[int, str], family: Family) -> Iterator[RouteEntry]:
    asked = rtmsg(socket.AF_INET6 if family == "ipv6" else socket.AF_INET)
    everything = "::/0" if family == "ipv6" else "0.0.0.0/0"
    for message in dump(netlink, RTM_GETROUTE, asked):
        table = message.get_attr("RTA_TABLE") or message["table"]
        kind, target = _KINDS.get(message["type"]), message.get_attr("RTA_DST")
        if kind is None or (target or "").startswith(("fe80:", "ff00:")):
            continue
        yield RouteEntry(
            f"{target}/{message['dst_len']}" if target else everything,
            kind,
            names.get(message.get_attr("RTA_OIF"), ""),
            message.get_attr("RTA_GATEWAY") or "",
            message.get_attr("RTA_PREFSRC") or "",
            message.get_attr("RTA_PRIORITY") or 0,
            _TABLES.get(table, str(table)),
            kernel=message["proto"] == RTPROT_KERNEL,
            protocol=PROTOCOLS.get(message["proto"], str(message["proto"])),
        )


def _neighbours(netlink: Netlink, names: Mapping[int, str]) -> Iterator[NeighbourEntry]:
    for message in dump(netlink, RTM_GETNEIGH, ndmsg()):
        state = _STATES.get(message["state"], "")
        if message["family"] in (socket.AF_INET, socket.AF_INET6) and state != "NOARP":
            dev, lladdr = names.get(message["ifindex"], ""), message.get_attr("NDA_LLADDR") or ""
            yield NeighbourEntry(dev, str(message.get_attr("NDA_DST")), lladdr, state)


def _forwarding(netlink: Netlink, names: Mapping[int, str]) -> Iterator[Forwarding]:
    """Unicast entries."""
    for message in dump(netlink, RTM_GETNEIGH, ndmsg(AF_BRIDGE)):
        mac = message.get_attr("NDA_LLADDR") or ""
        master, dst = names.get(message.get_attr("NDA_MASTER") or 0, ""), message.get_attr("NDA_DST") or ""
        if mac and not int(mac[:2], 16) & 1 and (master or dst):
            permanent = bool(message["state"] & NUD["PERMANENT"])
            yield Forwarding(names.get(message["ifindex"], ""), mac, master, dst, permanent)


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
            with netns.inside(self._namespace), contextlib.suppress(OSError):  # it has gone in the meantime
                self[index] = socket.if_indextoname(index)
        return super().get(index, default)


def _beside(found: Mapping[ChainKey, _Held], variant: Variant) -> dict[ChainKey, _Held]:
    return {ChainKey(beside(key.table, variant), key.chain): held for key, held in found.items()}


def _policies(text: str) -> dict[ChainKey, str]:
    found, table = {}, ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif policy := _POLICY.match(line):
            found[ChainKey(table, policy[1])] = policy[2]
    return found


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


def _recent(namespace: str) -> dict[str, frozenset[str]]:
    """The `recent` lists that hold an address (xt_recent)."""
    found: dict[str, set[str]] = defaultdict(set)
    with netns.inside(namespace):
        lists = Path("/proc/thread-self/net/xt_recent")
        if lists.exists():
            for file in lists.iterdir():
                for address in re.findall(r"src=(\S+) ", file.read_text()):
                    found[address].add(file.name)
    return {address: frozenset(lists) for address, lists in found.items()}
