"""What the kernel answers to a dump, message by message: the fixed part as numbers, the attributes as they came.

By struct: 3 to 5 µs a message, where a library that knows all attributes by name takes 60 to 110. Source of all
layouts: linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/neighbour.h, linux/netconf.h.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from k8snetlab.kernel.devices import parsed
from k8snetlab.kernel.messages import (
    HEADER,
    IFLA_EXT_MASK,
    IFLA_IFNAME,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    NETCONFA_FORWARDING,
    NETCONFA_IFINDEX,
    NETCONFA_PROXY_NEIGH,
    NETCONFA_RP_FILTER,
    NUD,
    RTA_GATEWAY,
    RTA_MULTIPATH,
    RTA_TABLE,
    RTA_VIA,
    RTEXT_FILTER_SKIP_STATS,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_GETNETCONF,
    RTM_GETROUTE,
    NetlinkRequest,
    ifaddrmsg,
    ifinfomsg,
    ndmsg,
    netconfmsg,
    number,
    rtmsg,
)
from k8snetlab.kernel.netlink import Netlink, attributes

STATES = {number: name for name, number in NUD.items()}
"""The name of a neighbour's state."""
ALL_DEVICES, NEW_DEVICES = -1, -2
"""The indices of a `Conf` that is no device's: net.ipv4.conf.all and .default."""
_IFADDRMSG, _RTMSG, _NDMSG = struct.Struct("=BB2xI"), struct.Struct("=8BI"), struct.Struct("=B3xiHBx")
_RTNEXTHOP, _DEAD = struct.Struct("=HBBi"), 1
_NETCONFMSG = 4
"""Octets of struct netconfmsg, with its padding."""

Given = Mapping[int, bytes]
"""Attributes by number."""


class Device(NamedTuple):
    """An RTM_NEWLINK."""

    ifindex: int
    name: str
    flags: int
    given: Given

    @property
    def info(self) -> Given:
        """What its kind adds, IFLA_INFO_… by number."""
        return attributes(self.given.get(IFLA_LINKINFO, b""))


class Held(NamedTuple):
    """An RTM_NEWADDR."""

    family: int
    length: int
    ifindex: int
    given: Given


class Routed(NamedTuple):
    """An RTM_NEWROUTE; `length` is its destination's, `kind` an RTN_ number."""

    family: int
    length: int
    table: int
    protocol: int
    kind: int
    flags: int
    given: Given


class NextHop(NamedTuple):
    """A struct rtnexthop of an RTA_MULTIPATH."""

    ifindex: int
    weight: int
    given: Given


class Known(NamedTuple):
    """An RTM_NEWNEIGH: a neighbour's, or, of the family AF_BRIDGE, a forwarding entry's."""

    family: int
    ifindex: int
    state: int
    flags: int
    given: Given


class Conf(NamedTuple):
    """An RTM_NEWNETCONF: some sysctls of a device."""

    ifindex: int
    forwarding: int
    rp_filter: int
    proxy_arp: int


def devices(netlink: Netlink) -> dict[int, Device]:
    """By index. Raises KernelError, as all of these."""
    request = ifinfomsg() + number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
    found = {}
    for message in netlink.dump(NetlinkRequest(RTM_GETLINK, 0, request)):
        _, index, flags, given = parsed(message[HEADER.size :])
        found[index] = Device(index, text(given[IFLA_IFNAME]), flags, given)
    return found


def addresses(netlink: Netlink) -> Iterator[Held]:
    for message in netlink.dump(NetlinkRequest(RTM_GETADDR, 0, ifaddrmsg())):
        family, length, index = _IFADDRMSG.unpack_from(message, HEADER.size)
        yield Held(family, length, index, attributes(message, HEADER.size + _IFADDRMSG.size))


def routes(netlink: Netlink, family: int = 0, table: int = 0) -> Iterator[Routed]:
    """Of all families and tables, where none is named."""
    for message in netlink.dump(NetlinkRequest(RTM_GETROUTE, 0, rtmsg(family, table=table))):
        of, length, _, _, held, protocol, _, kind, flags = _RTMSG.unpack_from(message, HEADER.size)
        given = attributes(message, HEADER.size + _RTMSG.size)
        yield Routed(of, length, whole(given, RTA_TABLE) or held, protocol, kind, flags, given)


def neighbours(netlink: Netlink, family: int = 0, index: int = 0) -> Iterator[Known]:
    """Of all families but AF_BRIDGE and all devices, where none is named."""
    for message in netlink.dump(NetlinkRequest(RTM_GETNEIGH, 0, ndmsg(family, index))):
        of, device, state, flags = _NDMSG.unpack_from(message, HEADER.size)
        yield Known(of, device, state, flags, attributes(message, HEADER.size + _NDMSG.size))


def confs(netlink: Netlink, family: int) -> Iterator[Conf]:
    """Of each device that has the family, and of ALL_DEVICES and NEW_DEVICES."""
    for message in netlink.dump(NetlinkRequest(RTM_GETNETCONF, 0, netconfmsg(family))):
        given = attributes(message, HEADER.size + _NETCONFMSG)
        index = int.from_bytes(given[NETCONFA_IFINDEX], sys.byteorder, signed=True)
        yield Conf(
            index,
            whole(given, NETCONFA_FORWARDING),
            whole(given, NETCONFA_RP_FILTER),
            whole(given, NETCONFA_PROXY_NEIGH),
        )


def next_hops(given: Given) -> Iterator[NextHop]:
    """Those of a route of several, but for dead ones, which the kernel passes by."""
    data, at = given.get(RTA_MULTIPATH, b""), 0
    while at + _RTNEXTHOP.size <= len(data):
        length, flags, hops, index = _RTNEXTHOP.unpack_from(data, at)
        if not flags & _DEAD:
            yield NextHop(index, hops + 1, attributes(data[at : at + length], _RTNEXTHOP.size))
        at += max(length + 3 & ~3, _RTNEXTHOP.size)


# --- attributes -------------------------------------------------------------------------------------------------------


def kind_of(info: Given) -> str:
    """What a device is in words of `ip -d link`: veth, bridge; "" where it is a plain one."""
    return text(info.get(IFLA_INFO_KIND, b""))


def address(given: Given, kind: int) -> str:
    """ "" where it is not given."""
    packed = given.get(kind)
    if packed is None:
        return ""
    return socket.inet_ntop(socket.AF_INET6 if len(packed) == 16 else socket.AF_INET, packed)


def gateway(given: Given) -> str:
    """A route's next hop, which may be of the other family (RTA_VIA); "" where there is none."""
    if RTA_VIA in given:
        return address({RTA_VIA: given[RTA_VIA][2:]}, RTA_VIA)  # after its family
    return address(given, RTA_GATEWAY)


def whole(given: Given, kind: int) -> int:
    """0 where it is not given."""
    return int.from_bytes(given[kind], sys.byteorder) if kind in given else 0


def mac(given: Given, kind: int) -> str:
    """ "" where it is not given."""
    return given.get(kind, b"").hex(":")


def text(data: bytes) -> str:
    return data.rstrip(b"\0").decode()
