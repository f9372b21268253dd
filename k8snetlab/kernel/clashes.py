"""What conntrack counts of packets that raced each other into its table, in one namespace.

A first packet is entered when it leaves, not when it comes: two of one connection that come together are entered twice.
Source: linux/netfilter/nfnetlink_conntrack.h (ctattr_stats_cpu); nf_conntrack_core.c (nf_ct_resolve_clash).
"""

from __future__ import annotations

import struct

import msgspec

from k8snetlab.kernel.netlink import attributes
from k8snetlab.kernel.nfnetlink import Nfnetlink

_GET_STATS_CPU = 1 << 8 | 4
_INSERT_FAILED, _CLASH_RESOLVE = 9, 14


class Clashes(msgspec.Struct, frozen=True):
    """Since the namespace was made: packets that were dropped for it (insert_failed), and those that the kernel let
    pass all the same (clash_resolve)."""

    lost: int = 0
    resolved: int = 0


def counted(namespace: str) -> Clashes:
    """As `conntrack -S` sums them up. Raises NotFoundError, KernelError."""
    lost = resolved = 0
    with Nfnetlink(namespace) as netfilter:
        for data in netfilter.dump(_GET_STATS_CPU):
            found = attributes(data)
            lost += _number(found.get(_INSERT_FAILED, b""))
            resolved += _number(found.get(_CLASH_RESOLVE, b""))
    return Clashes(lost, resolved)


def _number(data: bytes) -> int:
    return int(struct.unpack("!I", data)[0]) if len(data) == 4 else 0
