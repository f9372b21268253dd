"""nf_tables' tables and chains: what iptables-nft leaves standing when its rules are gone.

Source: linux/netfilter/nf_tables.h and nfnetlink.h; a change is a batch, done as a whole or not at all.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import NamedTuple, TypeAlias

from k8snetlab.dataplane.rules import Family
from k8snetlab.errors import KernelError
from k8snetlab.kernel.netlink import attributes
from k8snetlab.kernel.nfnetlink import FAMILIES, Nfnetlink, attribute

TABLES = frozenset({"filter", "nat", "mangle"})
CHAINS = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})
"""What iptables-nft makes before it writes a rule there."""
_SUBSYSTEM = 10
_GET_TABLE, _DELETE_TABLE, _GET_CHAIN, _DELETE_CHAIN = 1, 2, 4, 5
_TABLE_NAME = 1
_TABLE, _NAME, _HOOK, _POLICY, _USE = 1, 3, 4, 5, 6
_ACCEPT = 1
_NOT_RECURSIVE = 0x100
"""The kernel refuses to delete what is in use (EBUSY), instead of deleting that as well."""


Table: TypeAlias = tuple[Family, str]
"""Family and name."""


class Chain(NamedTuple):
    """`idle`: a base chain without rules and with policy ACCEPT, which does nothing to any packet."""

    table: Table
    name: str
    idle: bool


def read(namespace: str) -> tuple[tuple[Table, ...], tuple[Chain, ...]]:
    """The tables of ip and ip6, and their chains; none where the kernel has no nf_tables. Raises NotFoundError."""
    families: tuple[Family, ...] = ("ipv4", "ipv6")
    tables: list[Table] = []
    chains: list[Chain] = []
    with Nfnetlink(namespace) as netfilter:
        for family in families:
            try:
                for data in netfilter.dump(_SUBSYSTEM << 8 | _GET_TABLE, FAMILIES[family]):
                    tables.append((family, _text(attributes(data)[_TABLE_NAME])))
                for data in netfilter.dump(_SUBSYSTEM << 8 | _GET_CHAIN, FAMILIES[family]):
                    found = attributes(data)
                    idle = _HOOK in found and _number(found, _POLICY) == _ACCEPT and not _number(found, _USE)
                    chains.append(Chain((family, _text(found[_TABLE])), _text(found[_NAME]), idle))
            except KernelError:
                break
    return tuple(tables), tuple(chains)


def remove_idle(namespace: str, but_tables: Collection[Table], but_chains: Collection[tuple[Table, str]]) -> None:
    """Deletes idle base chains of iptables and those of its tables that are then empty, other than those named.

    What somebody begins to use meanwhile stays. Raises NotFoundError.
    """
    tables, chains = read(namespace)
    tables = tuple(table for table in tables if table[1] in TABLES)
    with Nfnetlink(namespace) as netfilter:
        for table in tables:
            family, name = table
            own = [chain for chain in chains if chain.table == table]
            doomed = [c for c in own if c.idle and c.name in CHAINS and (table, c.name) not in but_chains]
            batch = [
                (_DELETE_CHAIN, attribute(_TABLE, _packed(name)) + attribute(_NAME, _packed(chain.name)))
                for chain in doomed
            ]
            if len(doomed) == len(own) and table not in but_tables:
                batch.append((_DELETE_TABLE, attribute(_TABLE_NAME, _packed(name))))
            if batch:
                netfilter.batch(_SUBSYSTEM, batch, FAMILIES[family], _NOT_RECURSIVE)


def _number(found: dict[int, bytes], kind: int) -> int:
    return int(struct.unpack(">I", found[kind])[0]) if kind in found else 0


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode()


def _packed(name: str) -> bytes:
    return name.encode() + b"\0"
