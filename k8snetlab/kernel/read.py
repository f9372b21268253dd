"""Read a namespace into the same value that it is desired as, so that what was executed reads back equal."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import Container, Iterable, Iterator, Mapping
from ipaddress import ip_interface
from typing import NamedTuple

import msgspec

from k8snetlab.dataplane.links import Address, Bridge, Device, Link, Veth, Vxlan
from k8snetlab.dataplane.names import HOST_NETNS
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route
from k8snetlab.errors import NotFoundError
from k8snetlab.kernel import sysctl
from k8snetlab.kernel.devices import Shapes, parsed, shapes
from k8snetlab.kernel.messages import (
    AF_BRIDGE,
    IFA_ADDRESS,
    IFA_BROADCAST,
    IFA_LOCAL,
    IFA_PROTO,
    IFF_UP,
    IFLA_ADDRESS,
    IFLA_BR_MCAST_SNOOPING,
    IFLA_BRPORT_MODE,
    IFLA_EXT_MASK,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_INFO_SLAVE_DATA,
    IFLA_LINK,
    IFLA_LINK_NETNSID,
    IFLA_LINKINFO,
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
    RTA_GATEWAY,
    RTA_OIF,
    RTA_PREFSRC,
    RTA_PRIORITY,
    RTA_TABLE,
    RTEXT_FILTER_SKIP_STATS,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_GETROUTE,
    RTN_UNICAST,
    RTNH_F_ONLINK,
    RTPROT_KERNEL,
    RTPROT_RA,
    NetlinkRequest,
    ifaddrmsg,
    ifinfomsg,
    ndmsg,
    number,
    rtmsg,
)
from k8snetlab.kernel.netlink import Netlink, attributes

_STATES = {number: name for name, number in NUD.items()}
_IPV6_METRIC = 1024
"""What the kernel gives an IPv6 route that was added without a metric (IP6_RT_PRIO_USER)."""

_HEADER = 16
_RTMSG, _NDMSG = struct.Struct("=8BI"), struct.Struct("=B3xiHBx")
_IFADDRMSG = struct.Struct("=BB2xI")
"""Of entries there may be thousands: pyroute2 takes 60 to 110 µs for a message, this 5. Source: linux/rtnetlink.h."""

Names = Mapping[int, str]


class _Link(NamedTuple):
    """A device as the kernel told it, with its attributes by number."""

    name: str
    flags: int
    given: Mapping[int, bytes]


class Reading(NamedTuple):
    """A namespace as it was read: what it holds, the index that the other end of each veth has where it is (`peers`),
    and its devices as a monitor is told of them."""

    state: Netns
    ends: dict[str, int]
    links: Shapes


def read(namespace: str, sysctls: Iterable[str] = ()) -> Netns:
    """The state of a `reading`."""
    return reading(namespace, sysctls).state


def reading(namespace: str, sysctls: Iterable[str] = ()) -> Reading:
    """What the namespace holds, with the values of those of `sysctls` that exist.

    Left out is what the kernel makes by itself: the addresses of lo, link-local addresses and routes, routes of
    addresses, multicast, NOARP neighbours, learned forwarding entries; and every table but main. A veth's `peer` and
    `peer_netns` are unknown here ("").
    Raises NotFoundError.
    """
    with Netlink(namespace) as netlink:
        found = _links(netlink)
        names = {index: link.name for index, link in found.items()}
        links = tuple(_link(link, names) for link in found.values())
        all_routes = tuple(_all_routes(netlink, names))
        routes = tuple(route for route, own in all_routes if not own)
        connected = {(route.dev, route.dst) for route, own in all_routes if own}
        up = {link.name for link in links if link.up}
        addresses = tuple(
            msgspec.structs.replace(a, connected=_is_connected(a, connected) or a.dev not in up)
            for a in _addresses(netlink, names)
        )
        neighbours = tuple(_neighbours(netlink, names))
        tunnels = [index for index, link in zip(found, links, strict=True) if isinstance(link, Vxlan)]
        fdb = tuple(entry for index in tunnels for entry in _fdb(netlink, index, names))
    values = sysctl.read(namespace, sysctls)
    state = Netns(namespace, "", "node", values, links, addresses, routes, neighbours, fdb)
    told = dict(one for index, link in found.items() for one in shapes(0, index, link.flags, link.given))
    return Reading(state, {name: inner for name, _, inner in _veths(found)}, told)


def cables(namespaces: Iterable[str]) -> tuple[str, ...]:
    """The veths of the machine's own namespace ("") whose other ends are in `namespaces`, as far as these exist."""
    ends: set[tuple[int, int]] = set()
    for name in namespaces:
        with contextlib.suppress(NotFoundError), Netlink(name) as netlink:
            ends |= {(outer, inner) for _, inner, outer in _veths(_links(netlink))}
    if not ends:
        return ()
    with Netlink(HOST_NETNS) as netlink:
        return tuple(name for name, outer, inner in _veths(_links(netlink)) if (outer, inner) in ends)


def peers(netlink: Netlink) -> dict[str, int]:
    """The veths that lead out of the namespace, and the index that the other end of each has where it is."""
    return {name: inner for name, _, inner in _veths(_links(netlink))}


def _veths(links: Mapping[int, _Link]) -> Iterator[tuple[str, int, int]]:
    """Name and index of each veth that leads to another namespace, and the index of its peer there."""
    for index, link in links.items():
        info = attributes(link.given.get(IFLA_LINKINFO, b""))
        if _text(info.get(IFLA_INFO_KIND, b"")) == "veth" and IFLA_LINK_NETNSID in link.given:
            yield link.name, index, _number(link.given, IFLA_LINK)


def _links(netlink: Netlink) -> dict[int, _Link]:
    """By index."""
    request = ifinfomsg() + number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
    found = {}
    for message in netlink.dump(NetlinkRequest(RTM_GETLINK, 0, request)):
        _, index, flags, given = parsed(message[_HEADER:])
        found[index] = _Link(_text(given[IFLA_IFNAME]), flags, given)
    return found


def _link(found: _Link, names: Names) -> Link:
    name, up, given = found.name, bool(found.flags & IFF_UP), found.given
    mtu, mac = _number(given, IFLA_MTU), given.get(IFLA_ADDRESS, b"").hex(":")
    info = attributes(given.get(IFLA_LINKINFO, b""))
    match _text(info.get(IFLA_INFO_KIND, b"")):
        case "bridge":
            snooping = bool(attributes(info.get(IFLA_INFO_DATA, b"")).get(IFLA_BR_MCAST_SNOOPING, b"\0")[0])
            return Bridge(name, mac, mtu, up, snooping)
        case "veth":
            master = _number(given, IFLA_MASTER)
            port = attributes(info.get(IFLA_INFO_SLAVE_DATA, b"")) if master else {}
            hairpin = bool(_number(port, IFLA_BRPORT_MODE))
            return Veth(name, "", "", mac, "", mtu, names.get(master, ""), hairpin, up)
        case "vxlan":
            data = attributes(info[IFLA_INFO_DATA])
            return Vxlan(
                name,
                vni=_number(data, IFLA_VXLAN_ID),
                local=_address(socket.AF_INET, data, IFLA_VXLAN_LOCAL)
                or _address(socket.AF_INET6, data, IFLA_VXLAN_LOCAL6),
                dev=names.get(_number(data, IFLA_VXLAN_LINK), ""),
                port=int.from_bytes(data[IFLA_VXLAN_PORT], "big"),
                mac=mac,
                mtu=mtu,
                learning=bool(_number(data, IFLA_VXLAN_LEARNING)),
                l2miss=bool(_number(data, IFLA_VXLAN_L2MISS)),
                l3miss=bool(_number(data, IFLA_VXLAN_L3MISS)),
                up=up,
            )
        case _:
            return Device(name, mtu, mac, up)


def _addresses(netlink: Netlink, names: Names) -> Iterator[Address]:
    """Without those the kernel gave itself: it says so by IFA_PROTO since 5.18; before, link-local ones stay in."""
    for message in netlink.dump(NetlinkRequest(RTM_GETADDR, 0, ifaddrmsg())):
        family, length, index = _IFADDRMSG.unpack_from(message, _HEADER)
        found = attributes(message[_HEADER + _IFADDRMSG.size :])
        dev = names.get(index)
        address = f"{_address(family, found, IFA_LOCAL) or _address(family, found, IFA_ADDRESS)}/{length}"
        own = int.from_bytes(found.get(IFA_PROTO, b""), sys.byteorder)
        if not dev or own or (dev == "lo" and address in ("127.0.0.1/8", "::1/128")):
            continue
        yield Address(dev, address, broadcast=IFA_BROADCAST in found)


def _is_connected(address: Address, connected: Container[tuple[str, str]]) -> bool:
    """Whether the kernel's route to the address's network is there; an address alone in its network has none.

    IPv6's comes and goes with the carrier and is not asked for.
    """
    network = ip_interface(address.address).network
    alone = network.num_addresses == 1 or address.dev == "lo"
    return alone or network.version == 6 or (address.dev, str(network)) in connected


def _all_routes(netlink: Netlink, names: Names) -> Iterator[tuple[Route, bool]]:
    """Each with whether the kernel made it itself."""
    for message in netlink.dump(NetlinkRequest(RTM_GETROUTE, 0, rtmsg(table=RT_TABLE_MAIN))):
        family, length, _, _, table, proto, _, kind, flags = _RTMSG.unpack_from(message, _HEADER)
        found = attributes(message[_HEADER + _RTMSG.size :])
        if (_number(found, RTA_TABLE) or table) != RT_TABLE_MAIN or kind != RTN_UNICAST:
            continue
        dst = f"{_address(family, found, RTA_DST)}/{length}" if length else "default"
        if dst.startswith(("fe80:", "ff00:")):
            continue
        metric = _number(found, RTA_PRIORITY)
        route = Route(
            dst,
            names.get(_number(found, RTA_OIF), ""),
            _address(family, found, RTA_GATEWAY),
            bool(flags & RTNH_F_ONLINK),
            _address(family, found, RTA_PREFSRC),
            0 if family == socket.AF_INET6 and metric == _IPV6_METRIC else metric,
        )
        yield route, proto in (RTPROT_KERNEL, RTPROT_RA)


def _neighbours(netlink: Netlink, names: Names) -> Iterator[Neighbour]:
    for message in netlink.dump(NetlinkRequest(RTM_GETNEIGH, 0, ndmsg())):
        family, index, held, _ = _NDMSG.unpack_from(message, _HEADER)
        state = _STATES.get(held)
        if family in (socket.AF_INET, socket.AF_INET6) and state and state != "NOARP":
            found = attributes(message[_HEADER + _NDMSG.size :])
            yield Neighbour(names.get(index, ""), _address(family, found, NDA_DST), _mac(found), state)


def _fdb(netlink: Netlink, index: int, names: Names) -> Iterator[FdbEntry]:
    for message in netlink.dump(NetlinkRequest(RTM_GETNEIGH, 0, ndmsg(AF_BRIDGE, index))):
        _, _, state, flags = _NDMSG.unpack_from(message, _HEADER)
        found = attributes(message[_HEADER + _NDMSG.size :])
        if (dst := found.get(NDA_DST)) and flags & NTF_SELF and state & NUD["PERMANENT"]:
            family = socket.AF_INET if len(dst) == 4 else socket.AF_INET6
            yield FdbEntry(names[index], _mac(found), socket.inet_ntop(family, dst))


def _address(family: int, found: Mapping[int, bytes], kind: int) -> str:
    return socket.inet_ntop(family, found[kind]) if kind in found else ""


def _number(found: Mapping[int, bytes], kind: int) -> int:
    return int.from_bytes(found[kind], sys.byteorder) if kind in found else 0


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode()


def _mac(found: Mapping[int, bytes]) -> str:
    return found.get(NDA_LLADDR, b"").hex(":")
