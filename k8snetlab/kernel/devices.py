"""What of a device anybody sets: its carrier, queues, timers and counters change by themselves, and are told too."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from k8snetlab.kernel.messages import (
    AF_BRIDGE,
    IFF_UP,
    IFLA_ADDRESS,
    IFLA_BR_MCAST_SNOOPING,
    IFLA_BRPORT_MODE,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_INFO_SLAVE_DATA,
    IFLA_LINK,
    IFLA_LINK_NETNSID,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_MTU,
    IFLA_PROTINFO,
)
from k8snetlab.kernel.netlink import attributes

_IFINFOMSG = struct.Struct("=B3xiI4x")
_SET = (IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_LINK_NETNSID)

Told: TypeAlias = tuple[int, int]
"""Who is told of: family (0, or AF_BRIDGE for what a bridge tells of its port) and ifindex."""
Shape: TypeAlias = tuple[int | bytes | None, ...]
Shapes: TypeAlias = dict[Told, Shape]


def parsed(payload: bytes) -> tuple[int, int, int, dict[int, bytes]]:
    """Of an RTM_NEWLINK: family, ifindex, flags, attributes."""
    family, ifindex, flags = _IFINFOMSG.unpack_from(payload)
    return family, ifindex, flags, attributes(payload[_IFINFOMSG.size :])


def shapes(family: int, ifindex: int, flags: int, given: Mapping[int, bytes]) -> Iterator[tuple[Told, Shape]]:
    """What an RTM_NEWLINK tells, which may be of the device and of the port that it is."""
    if family == AF_BRIDGE:
        port = attributes(given.get(IFLA_PROTINFO, b""))
        yield (AF_BRIDGE, ifindex), (given.get(IFLA_MASTER), port.get(IFLA_BRPORT_MODE))
        return
    info = attributes(given.get(IFLA_LINKINFO, b""))
    kind, data = info.get(IFLA_INFO_KIND), info.get(IFLA_INFO_DATA)
    if kind == b"bridge\0" and data:
        data = attributes(data).get(IFLA_BR_MCAST_SNOOPING)
    mode = attributes(info.get(IFLA_INFO_SLAVE_DATA, b"")).get(IFLA_BRPORT_MODE)
    yield (0, ifindex), (flags & IFF_UP, *(given.get(one) for one in _SET), kind, data, mode)
    if mode is not None:
        yield (AF_BRIDGE, ifindex), (given.get(IFLA_MASTER), mode)
