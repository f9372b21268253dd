"""How full the kernel's neighbour tables are: one for each family, shared by all namespaces of the machine."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from k8snetlab.dataplane.rules import Family
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel.messages import HEADER, NUD, RTM_GETNEIGH, NetlinkRequest, ndmsg
from k8snetlab.kernel.netlink import Netlink

_FAMILIES: dict[int, Family] = {socket.AF_INET: "ipv4", socket.AF_INET6: "ipv6"}
_NTF_EXT_LEARNED = 0x10
_NDMSG = struct.Struct("=B7xHBx")
_COUNTERS: dict[Family, str] = {"ipv4": "arp_cache", "ipv6": "ndisc_cache"}


class Fullness(NamedTuple):
    """The table takes no more than `limit` entries (gc_thresh3), whatever namespace they are in."""

    family: Family
    entries: int
    limit: int


def overflows(read: Callable[[str], str] = lambda file: Path(file).read_text()) -> dict[Family, int]:
    """How often since the machine began each table took no more entry: table_fulls of /proc/net/stat, a row for each
    processor, in hexadecimal. Without the families of which the kernel does not tell: only the machine's first
    namespace has these files."""
    found: dict[Family, int] = {}
    for family, name in _COUNTERS.items():
        with contextlib.suppress(OSError, ValueError):
            head, *rows = read(f"/proc/net/stat/{name}").splitlines()
            column = head.split().index("table_fulls")
            found[family] = sum(int(row.split()[column], 16) for row in rows)
    return found


def limit(family: Family) -> int:
    """The table's gc_thresh3. Raises OSError."""
    return int(Path(f"/proc/sys/net/{family}/neigh/default/gc_thresh3").read_text())


def lifting(family: Family, entries: int) -> str:
    """What to type so that the table takes so many."""
    key = f"net.{family}.neigh.default.gc_thresh"
    return f"sysctl -w {key}1={entries // 4} {key}2={entries // 2} {key}3={entries}"


def fullness(namespaces: Iterable[str]) -> list[Fullness]:
    """Both families' tables, counting the entries in these namespaces. Empty where the limits cannot be read: only the
    machine's first namespace has them."""
    limits: dict[Family, int] = {}
    for family in _FAMILIES.values():
        with contextlib.suppress(OSError):
            limits[family] = limit(family)
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
