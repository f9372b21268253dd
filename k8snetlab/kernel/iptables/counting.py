"""What nf_tables has counted for iptables' rules, without iptables: to start iptables-save takes longer than most
namespaces' rules take to be read.

Source: linux/netfilter/nf_tables.h. iptables-nft gives each of its rules one counter.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

from k8snetlab.dataplane.rules import ChainKey, Family
from k8snetlab.kernel.iptables.saved import Counters
from k8snetlab.kernel.netlink import attributes
from k8snetlab.kernel.nfnetlink import FAMILIES, Nfnetlink

_GET_RULES = 10 << 8 | 7
_TABLE, _CHAIN, _EXPRESSIONS = 1, 2, 4
COUNTER = re.compile(rb"counter\0\x1c\0\x02[\0\x80]\x0c\0\x01\0(.{8})\x0c\0\x02\0(.{8})", re.DOTALL)
"""The expression: octets, then packets, each of 64 bits."""


def counted(namespace: str, family: Family) -> Mapping[ChainKey, tuple[Counters, ...]] | None:
    """Packets and octets of each rule, by chain and in order, of chains that have any; None where a rule has no counter
    or several, which is then not iptables' own. Raises NotFoundError, KernelError."""
    found: dict[tuple[bytes, bytes], list[Counters]] = {}
    with Nfnetlink(namespace) as netfilter:
        for told in netfilter.dump(_GET_RULES, FAMILIES[family]):
            rule = attributes(told)
            counters = COUNTER.findall(rule[_EXPRESSIONS])
            if len(counters) != 1:
                return None
            octets, packets = (int(struct.unpack(">Q", number)[0]) for number in counters[0])
            found.setdefault((rule[_TABLE], rule[_CHAIN]), []).append((packets, octets))
    return {ChainKey(_text(table), _text(chain)): tuple(some) for (table, chain), some in found.items()}


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode()
