"""Ends of connections, and ports at them: what every kind of policy speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal

import msgspec

from k8snetlab.api.snapshot import Key
from k8snetlab.api.words import Path

Direction = Literal["ingress", "egress"]
Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
FIRST, LAST = 1, 65535
"""The numbers that a port can have."""


class End(msgspec.Struct, frozen=True):
    """One end of a connection. A pod has a `key`; a node has none, and `node` is its own name; outside has neither.

    `addresses` are those at which it is reached, at most one a family (a pod may have none yet); `senders` those that
    its own packets are seen with, where they are others: a node's come through a tunnel, but for those to the nodes
    `beside` it. `host`: a pod in its node's
    network, whose address is the node's; no selector of a policy sees it. `ports` are the numbers behind the names of
    a pod's container ports, by (protocol, name).
    """

    name: str
    addresses: tuple[str, ...] = ()
    key: Key | None = None
    node: str = ""
    host: bool = False
    ports: Mapping[tuple[str, str], tuple[int, ...]] = {}
    senders: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    @property
    def family(self) -> int:
        """The IP version of its first address; 4 where it has none."""
        return 6 if self.addresses and ":" in self.addresses[0] else 4

    def address(self, family: int) -> str:
        """Its address of IP version 4 or 6, "" where it has none."""
        return _of_family(self.addresses, family)

    def sender(self, family: int, node: str) -> str:
        """The address that its packets of IP version 4 or 6 come to a node with, "" where it has none."""
        return _of_family(self.addresses if node in self.beside else self.senders or self.addresses, family)


def _of_family(addresses: tuple[str, ...], family: int) -> str:
    return next((one for one in addresses if (":" in one) == (family == 6)), "")


Ends = Mapping[Key, End]
"""Pods by (namespace, name), sorted."""


class Block(msgspec.Struct, frozen=True):
    """An ipBlock: the addresses of `network` without those of `excepts`, which lie inside it."""

    network: Network
    excepts: tuple[Network, ...] = ()

    def has(self, address: str) -> bool:
        if not address:
            return False
        ip = _parsed(address)
        return ip in self.network and not any(ip in part for part in self.excepts)


@lru_cache(maxsize=1 << 14)
def _parsed(address: str) -> Address:
    return ip_address(address)


class PortRange(msgspec.Struct, frozen=True):
    """Ports `first` to `last` of a protocol (TCP, UDP, SCTP), both included; FIRST to LAST is the whole protocol."""

    path: Path
    protocol: str
    first: int = FIRST
    last: int = LAST


class NamedPort(msgspec.Struct, frozen=True):
    """A port by its name, with its numbers at each destination pod that has it: of ingress those are the pods that the
    policy selects, of egress the rule's peers that are pods (all pods, where the rule names no peers). An address of
    an ipBlock has no names."""

    path: Path
    protocol: str
    name: str
    numbers: Mapping[Key, tuple[int, ...]]


Port = PortRange | NamedPort
