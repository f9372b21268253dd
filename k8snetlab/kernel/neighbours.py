"""How full the kernel's neighbour tables are: one for each family, shared by all namespaces of the machine."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from k8snetlab.dataplane.rules import Family
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel.messages import HEADER, NUD, RTM_GETNEIGH, NetlinkRequest, ndmsg
from k8snetlab.kernel.netlink import Netlink

_FAMILIES: dict[int, Family] = {socket.AF_INET: "ipv4", socket.AF_INET6: "ipv6"}
_NTF_EXT_LEARNED = 0x10
_NDMSG = struct.Struct("=B7xHBx")


class Fullness(NamedTuple):
    """The table takes no more than `limit` entries (gc_thresh3), whatever namespace they are in."""

    family: Family
    entries: int
    limit: int


def fullness(namespaces: Iterable[str]) -> list[Fullness]:
    """Both families' tables, counting the entries in these namespaces. Empty where the limits cannot be read: only the
    machine's first namespace has them."""
    limits: dict[Family, int] = {}
    for family in _FAMILIES.values():
        with contextlib.suppress(OSError):
            file = Path(f"/proc/sys/net/{family}/neigh/default/gc_thresh3")
            limits[family] = int(file.read_text())
    found: Counter[Family] = Counter()
    for name in namespaces if limits else ():
        with contextlib.suppress(K8sNetLabError, OSError):
            found += counted(name)
    return [Fullness(family, found[family], limit) for family, limit in limits.items()]


def counted(namespace: str) -> Counter[Family]:
    """The entries of a namespace that count towards the limit: permanent ones and a routing daemon's do not."""
    found: Counter[Family] = Counter()
    with Netlink(namespace) as netlink:
        for message in netlink.dump(NetlinkRequest(RTM_GETNEIGH, 0, ndmsg())):
            family, state, flags = _NDMSG.unpack_from(message, HEADER.size)
            lasting = state & NUD["PERMANENT"] or flags & _NTF_EXT_LEARNED
            if family in _FAMILIES and not lasting:
                found[_FAMILIES[family]] += 1
    return found
