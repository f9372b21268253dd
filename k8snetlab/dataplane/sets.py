"""ipsets as values: what a rule's `-m set --match-set NAME src` looks into."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Literal

import msgspec

from k8snetlab.dataplane.families import network
from k8snetlab.dataplane.rules import Family

SetType = Literal["hash:ip", "hash:net", "hash:ip,port"]
NOMATCH = " nomatch"
"""Ends an entry of a hash:net that takes its addresses out again."""
LONGEST_NAME = 31
"""Octets of a set's name (IPSET_MAXNAMELEN, less its end)."""


class IPSet(msgspec.Struct, frozen=True):
    """One set of a namespace. `entries` as `ipset save` writes them after the name: "10.244.1.2", "10.0.0.0/8",
    "10.1.0.0/16 nomatch", "10.244.1.2,tcp:80"; a network of one address without its length."""

    name: str
    type: SetType
    family: Family
    entries: frozenset[str] = frozenset()

    def has(self, address: str, protocol: str = "", port: int = 0) -> bool:
        """As the kernel looks: of networks, the smallest that holds the address counts. `protocol` ("tcp") and `port`
        are those of the packet's end, for a set with ports."""
        if self.type == "hash:ip,port":
            return f"{ip_address(address)},{protocol}:{port}" in self.entries
        if self.type == "hash:ip":
            return str(ip_address(address)) in self.entries
        found, longest = False, -1
        for entry in self.entries:
            cidr, nomatch, _ = entry.partition(NOMATCH)
            held = network(cidr)
            one = ip_address(address)
            if one.version == held.version and one in held and held.prefixlen > longest:
                found, longest = not nomatch, held.prefixlen
        return found


def halves(cidr: str) -> tuple[str, ...]:
    """`cidr`, or its two halves where it is all addresses: a hash:net takes no length of 0 (ipset(8))."""
    held = network(cidr)
    return tuple(map(written, map(str, held.subnets()))) if held.prefixlen == 0 else (written(cidr),)


def written(cidr: str) -> str:
    """A network as `ipset save` writes it."""
    held = network(cidr)
    return str(held.network_address) if held.prefixlen == held.max_prefixlen else str(held)


def by_name(sets: Iterable[IPSet]) -> dict[str, IPSet]:
    return {one.name: one for one in sets}
