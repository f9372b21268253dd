"""Read a namespace into the same value that it is desired as, so that what was executed reads back equal."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Container, Iterable, Iterator, Mapping
from ipaddress import ip_interface
from typing import NamedTuple

import msgspec

from k8snetlab.dataplane.links import Address, Bridge, Device, Ipip, Link, Veth, Vxlan
from k8snetlab.dataplane.names import HOST_NETNS
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.routing import FELIX, FdbEntry, Neighbour, Route
from k8snetlab.errors import NotFoundError
from k8snetlab.kernel import decoded, sysctl
from k8snetlab.kernel.decoded import STATES, address, kind_of, mac, whole
from k8snetlab.kernel.devices import Shapes, shapes
from k8snetlab.kernel.messages import (
    AF_BRIDGE,
    BY_DAEMONS,
    IFA_ADDRESS,
    IFA_BROADCAST,
    IFA_LOCAL,
    IFA_PROTO,
    IFF_UP,
    IFLA_ADDRESS,
    IFLA_BR_MCAST_SNOOPING,
    IFLA_BRPORT_MODE,
    IFLA_INFO_DATA,
    IFLA_INFO_SLAVE_DATA,
    IFLA_LINK,
    IFLA_LINK_NETNSID,
    IFLA_MASTER,
    IFLA_MTU,
    IFLA_VXLAN_ID,
    IFLA_VXLAN_L2MISS,
    IFLA_VXLAN_L3MISS,
    IFLA_VXLAN_LEARNING,
    IFLA_VXLAN_LINK,
    IFLA_VXLAN_LOCAL,
    IFLA_VXLAN_LOCAL6,
    IFLA_VXLAN_PORT,
    NDA_DST,
    NDA_LLADDR,
    NTF_SELF,
    NUD,
    RT_TABLE_MAIN,
    RTA_DST,
    RTA_OIF,
    RTA_PREFSRC,
    RTA_PRIORITY,
    RTN_BLACKHOLE,
    RTN_PROHIBIT,
    RTN_UNICAST,
    RTN_UNREACHABLE,
    RTNH_F_ONLINK,
    RTPROT_KERNEL,
    RTPROT_RA,
)
from k8snetlab.kernel.netlink import Netlink, attributes

ENDING = {RTN_BLACKHOLE: "blackhole", RTN_UNREACHABLE: "unreachable", RTN_PROHIBIT: "prohibit"}
BY_KERNEL = (RTPROT_KERNEL, RTPROT_RA)
BY_OTHERS = BY_DAEMONS.union(BY_KERNEL)
_IPV6_METRIC = 1024
"""What the kernel gives an IPv6 route that was added without a metric (IP6_RT_PRIO_USER)."""

Names = Mapping[int, str]


class Reading(NamedTuple):
    """A namespace as it was read: what it holds, the index that the other end of each veth has where it is (`peers`),
    and its devices as a monitor is told of them."""

    state: Netns
    ends: dict[str, int]
    links: Shapes


def read(namespace: str, sysctls: Iterable[str] = ()) -> Netns:
    """The state of a `reading`."""
    return _read(namespace, sysctls)[0]


def reading(namespace: str, sysctls: Iterable[str] = ()) -> Reading:
    """What the namespace holds, with the values of those of `sysctls` that exist.

    Left out is what the kernel makes by itself: the addresses of lo, link-local addresses and routes, routes of
    addresses, multicast, NOARP neighbours, learned forwarding entries; and every table but main. A veth's `peer` and
    `peer_netns` are unknown here ("").
    Raises NotFoundError.
    """
    state, found = _read(namespace, sysctls)
    told = dict(one for index, link in found.items() for one in shapes(0, index, link.flags, link.given))
    return Reading(state, {name: inner for name, _, inner in _veths(found)}, told)


def _read(namespace: str, sysctls: Iterable[str]) -> tuple[Netns, Mapping[int, decoded.Device]]:
    with Netlink(namespace) as netlink:
        found = decoded.devices(netlink)
        names = {index: link.name for index, link in found.items()}
        links = tuple(_link(link, names) for link in found.values())
        all_routes = tuple(_all_routes(netlink, names))
        routes = tuple(route for route, protocol in all_routes if protocol not in BY_OTHERS)
        learned = tuple(route for route, protocol in all_routes if protocol in BY_DAEMONS)
        connected = {(route.dev, route.dst) for route, protocol in all_routes if protocol in BY_KERNEL}
        up = {link.name for link in links if link.up}
        addresses = tuple(
            msgspec.structs.replace(a, connected=_is_connected(a, connected) or a.dev not in up)
            for a in _addresses(netlink, names)
        )
        neighbours = tuple(_neighbours(netlink, names))
        tunnels = [index for index, link in zip(found, links, strict=True) if isinstance(link, Vxlan)]
        fdb = tuple(entry for index in tunnels for entry in _fdb(netlink, index, names))
    values = sysctl.read(namespace, sysctls)
    state = Netns(namespace, "", "node", values, links, addresses, routes, neighbours, fdb, learned=learned)
    return state, found


def cables(namespaces: Iterable[str]) -> tuple[str, ...]:
    """The veths of the machine's own namespace ("") whose other ends are in `namespaces`, as far as these exist."""
    ends: set[tuple[int, int]] = set()
    for name in namespaces:
        with contextlib.suppress(NotFoundError), Netlink(name) as netlink:
            ends |= {(outer, inner) for _, inner, outer in _veths(decoded.devices(netlink))}
    if not ends:
        return ()
    with Netlink(HOST_NETNS) as netlink:
        return tuple(name for name, outer, inner in _veths(decoded.devices(netlink)) if (outer, inner) in ends)


def peers(netlink: Netlink) -> dict[str, int]:
    """The veths that lead out of the namespace, and the index that the other end of each has where it is."""
    return {name: inner for name, _, inner in _veths(decoded.devices(netlink))}


def _veths(links: Mapping[int, decoded.Device]) -> Iterator[tuple[str, int, int]]:
    """Name and index of each veth that leads to another namespace, and the index of its peer there."""
    for index, link in links.items():
        if IFLA_LINK_NETNSID in link.given and kind_of(link.info) == "veth":
            yield link.name, index, whole(link.given, IFLA_LINK)


def _link(found: decoded.Device, names: Names) -> Link:
    name, up, given, info = found.name, bool(found.flags & IFF_UP), found.given, found.info
    mtu, own = whole(given, IFLA_MTU), mac(given, IFLA_ADDRESS)
    match kind_of(info):
        case "bridge":
            snooping = bool(attributes(info.get(IFLA_INFO_DATA, b"")).get(IFLA_BR_MCAST_SNOOPING, b"\0")[0])
            return Bridge(name, own, mtu, up, snooping)
        case "veth":
            master = whole(given, IFLA_MASTER)
            port = attributes(info.get(IFLA_INFO_SLAVE_DATA, b"")) if master else {}
            hairpin = bool(whole(port, IFLA_BRPORT_MODE))
            return Veth(name, "", "", own, "", mtu, names.get(master, ""), hairpin, up)
        case "vxlan":
            data = attributes(info[IFLA_INFO_DATA])
            return Vxlan(
                name,
                vni=whole(data, IFLA_VXLAN_ID),
                local=address(data, IFLA_VXLAN_LOCAL) or address(data, IFLA_VXLAN_LOCAL6),
                dev=names.get(whole(data, IFLA_VXLAN_LINK), ""),
                port=int.from_bytes(data[IFLA_VXLAN_PORT], "big"),
                mac=own,
                mtu=mtu,
                learning=bool(whole(data, IFLA_VXLAN_LEARNING)),
                l2miss=bool(whole(data, IFLA_VXLAN_L2MISS)),
                l3miss=bool(whole(data, IFLA_VXLAN_L3MISS)),
                up=up,
            )
        case "ipip":
            return Ipip(name, mtu, "", up)
        case _:
            return Device(name, mtu, own, up)


def _addresses(netlink: Netlink, names: Names) -> Iterator[Address]:
    """Without those the kernel gave itself: it says so by IFA_PROTO since 5.18; before, link-local ones stay in."""
    for _, length, index, given in decoded.addresses(netlink):
        dev = names.get(index)
        held = f"{address(given, IFA_LOCAL) or address(given, IFA_ADDRESS)}/{length}"
        if not dev or whole(given, IFA_PROTO) or (dev == "lo" and held in ("127.0.0.1/8", "::1/128")):
            continue
        yield Address(dev, held, broadcast=IFA_BROADCAST in given)


def _is_connected(address: Address, connected: Container[tuple[str, str]]) -> bool:
    """Whether the kernel's route to the address's network is there; an address alone in its network has none.

    IPv6's comes and goes with the carrier and is not asked for.
    """
    network = ip_interface(address.address).network
    alone = network.num_addresses == 1 or address.dev == "lo"
    return alone or network.version == 6 or (address.dev, str(network)) in connected


def learned(namespace: str, protocols: Container[int] = BY_DAEMONS) -> tuple[Route, ...]:
    """The routes that routing daemons have made, one of several next hops as so many. Raises NotFoundError."""
    with Netlink(namespace) as netlink:
        names = {index: link.name for index, link in decoded.devices(netlink).items()}
        found = ((route, hops) for route, protocol, hops in _ways(netlink, names) if protocol in protocols)
        return tuple(
            msgspec.structs.replace(route, dev=names.get(hop.ifindex, ""), via=decoded.gateway(hop.given))
            if hop
            else route
            for route, hops in found
            for hop in hops or (None,)
        )


def others(namespace: str, networks: Container[str]) -> dict[str, str]:
    """The routes to exactly one of the networks that no daemon has made, by network, as `ip route` prints their
    beginning: "blackhole 10.244.2.0/24", "10.244.2.0/24 via 10.0.0.1". Raises NotFoundError."""
    found = {}
    with Netlink(namespace) as netlink:
        for _, length, table, protocol, kind, _, given in decoded.routes(netlink, table=RT_TABLE_MAIN):
            dst = f"{address(given, RTA_DST)}/{length}"
            if table == RT_TABLE_MAIN and dst in networks and protocol not in BY_OTHERS:
                via = decoded.gateway(given)
                found[dst] = f"{ENDING.get(kind, '')} {dst}{f' via {via}' if via else ''}".strip()
    return found


def _all_routes(netlink: Netlink, names: Names) -> Iterator[tuple[Route, int]]:
    """Each with its protocol: who made it."""
    for route, protocol, _ in _ways(netlink, names):
        yield route, protocol


def _ways(netlink: Netlink, names: Names) -> Iterator[tuple[Route, int, tuple[decoded.NextHop, ...]]]:
    """Each with its protocol, and with its next hops where it has several."""
    for family, length, table, protocol, kind, flags, given in decoded.routes(netlink, table=RT_TABLE_MAIN):
        ended = kind == RTN_BLACKHOLE and (protocol == FELIX or protocol in BY_DAEMONS)
        if table != RT_TABLE_MAIN or not (kind == RTN_UNICAST or ended):
            continue
        dst = f"{address(given, RTA_DST)}/{length}" if length else "default"
        if dst.startswith(("fe80:", "ff00:")):
            continue
        metric = whole(given, RTA_PRIORITY)
        route = Route(
            dst,
            names.get(whole(given, RTA_OIF), ""),
            decoded.gateway(given),
            bool(flags & RTNH_F_ONLINK),
            address(given, RTA_PREFSRC),
            0 if family == socket.AF_INET6 and metric == _IPV6_METRIC else metric,
            ended,
            FELIX if protocol == FELIX else 0,
        )
        yield route, protocol, tuple(decoded.next_hops(given))


def _neighbours(netlink: Netlink, names: Names) -> Iterator[Neighbour]:
    for family, index, held, _, given in decoded.neighbours(netlink):
        state = STATES.get(held)
        if family in (socket.AF_INET, socket.AF_INET6) and state and state != "NOARP":
            yield Neighbour(names.get(index, ""), address(given, NDA_DST), mac(given, NDA_LLADDR), state)


def _fdb(netlink: Netlink, index: int, names: Names) -> Iterator[FdbEntry]:
    for _, _, state, flags, given in decoded.neighbours(netlink, AF_BRIDGE, index):
        if NDA_DST in given and flags & NTF_SELF and state & NUD["PERMANENT"]:
            yield FdbEntry(names[index], mac(given, NDA_LLADDR), address(given, NDA_DST))
