"""The messages of rtnetlink(7): their numbers, their fixed parts, and how attributes are packed.

Source of all layouts and numbers: linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/neighbour.h,
linux/netconf.h.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_GETNETCONF = 82

NLM_F_REQUEST, NLM_F_ACK = 0x1, 0x4
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLM_F_DUMP = 0x300

AF_BRIDGE = 7
IFF_UP = 0x1
IFA_F_NODAD = 0x2
NTF_SELF = 0x2
RTNH_F_ONLINK = 0x4
RT_TABLE_MAIN = 254
RTPROT_KERNEL, RTPROT_BOOT, RTPROT_RA = 2, 3, 9
BY_DAEMONS = frozenset((8, 10, 11, 12, 13, 14, 15, 17, 42, 186, 187, 188, 189, 192))
"""The protocols of routes that a routing daemon makes, zebra (11), bird (12), bgp (186), ospf (188), rip (189) among
them. Source: linux/rtnetlink.h."""
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_NOWHERE = 0, 253, 255
RTN_UNICAST, RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT = 1, 6, 7, 8
RTEXT_FILTER_SKIP_STATS = 8
NUD = {
    "INCOMPLETE": 0x01,
    "REACHABLE": 0x02,
    "STALE": 0x04,
    "DELAY": 0x08,
    "PROBE": 0x10,
    "FAILED": 0x20,
    "NOARP": 0x40,
    "PERMANENT": 0x80,
}

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER = 1, 3, 4, 5, 10
IFLA_QDISC = 6
IFLA_PROTINFO, IFLA_LINKINFO, IFLA_NET_NS_FD, IFLA_EXT_MASK, IFLA_LINK_NETNSID = 12, 18, 28, 29, 37
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFLA_BRPORT_MODE, IFLA_BR_MCAST_SNOOPING, VETH_INFO_PEER = 4, 23, 1
IFLA_VXLAN_ID, IFLA_VXLAN_LINK, IFLA_VXLAN_LOCAL, IFLA_VXLAN_LOCAL6, IFLA_VXLAN_PORT = 1, 3, 4, 17, 15
IFLA_VXLAN_LEARNING, IFLA_VXLAN_L2MISS, IFLA_VXLAN_L3MISS = 7, 13, 14
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS, IFA_PROTO = 1, 2, 4, 8, 11
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_MULTIPATH = 1, 4, 5, 6, 7, 9
RTA_TABLE, RTA_VIA = 15, 18
NDA_DST, NDA_LLADDR, NDA_MASTER = 1, 2, 9
NETCONFA_IFINDEX, NETCONFA_FORWARDING, NETCONFA_RP_FILTER, NETCONFA_PROXY_NEIGH = 1, 2, 3, 5

HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port."""
ATTRIBUTE = struct.Struct("=HH")
"""struct rtattr: length with this head and without padding, type."""
_IFINFOMSG, _IFADDRMSG = struct.Struct("=BxHiII"), struct.Struct("=BBBBI")
_RTMSG, _NDMSG = struct.Struct("=8BI"), struct.Struct("=BxxxiHBB")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


class NetlinkRequest(NamedTuple):
    """A message to the kernel: an RTM_ number, NLM_F_ flags besides REQUEST and ACK, and what follows the header."""

    type: int
    flags: int
    body: bytes


def ifinfomsg(index: int = 0, flags: int = 0, change: int = 0, family: int = 0) -> bytes:
    return _IFINFOMSG.pack(family, 0, index, flags, change)


def ifaddrmsg(family: int = 0, length: int = 0, index: int = 0) -> bytes:
    return _IFADDRMSG.pack(family, length, 0, 0, index)


def rtmsg(
    family: int = 0, length: int = 0, *, table: int = 0, proto: int = 0, scope: int = 0, kind: int = 0, flags: int = 0
) -> bytes:
    """`length` is the destination's prefix length, `kind` an RTN_ number."""
    return _RTMSG.pack(family, length, 0, 0, table, proto, scope, kind, flags)


def ndmsg(family: int = 0, index: int = 0, state: int = 0, flags: int = 0) -> bytes:
    return _NDMSG.pack(family, index, state, flags, 0)


def netconfmsg(family: int) -> bytes:
    return family.to_bytes(4, "little")


def attribute(kind: int, data: bytes) -> bytes:
    """One attribute, padded; several nested ones are the `data` of the one around them."""
    return ATTRIBUTE.pack(4 + len(data), kind) + data + _PADDING[len(data) & 3]


def number(kind: int, value: int) -> bytes:
    """An attribute of 32 bits."""
    return _NUMBER.pack(8, kind, value)


def octet(kind: int, value: int) -> bytes:
    """An attribute of 8 bits."""
    return _OCTET.pack(5, kind, value)


def text(kind: int, value: str) -> bytes:
    """An attribute that is a string with its end."""
    return attribute(kind, value.encode() + b"\0")


_NUMBER, _OCTET = struct.Struct("=HHI"), struct.Struct("=HHBxxx")
