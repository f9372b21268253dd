"""What of a node's pools is reserved for pods that are no more, as an annotation of the Node says it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from k8snetlab.api.addressing import Address, IPNetwork, address, parse_network, split
from k8snetlab.api.core import Node

RESERVED = "k8snetlab/reserved-ips"
"""Annotation of a Node: what of its subnets is reserved beside its pods' addresses, "10.244.1.9-10.244.1.254",
separated by commas: what host-local keeps for pods of whose end it was never told."""
MOST = 1000
"""Ranges that are read."""


class Reserved(msgspec.Struct, frozen=True):
    """Ranges of addresses, their first and their last one."""

    ranges: tuple[tuple[Address, Address], ...] = ()

    def until(self, one: Address) -> Address | None:
        """The end of the range that the address is in; None for one that is not reserved."""
        return next(
            (high for low, high in self.ranges if low.version == one.version and int(low) <= int(one) <= int(high)),
            None,
        )

    @property
    def size(self) -> int:
        return sum(int(high) - int(low) + 1 for low, high in self.ranges)

    def __str__(self) -> str:
        return ",".join(f"{low}-{high}" if low != high else str(low) for low, high in self.ranges)


def reserved(node: Node) -> Reserved:
    """What can be read of the annotation; the rest of it reserves nothing."""
    return Reserved(tuple(islice(_read(split(node.metadata.annotations.get(RESERVED, ""))), MOST)))


def _read(texts: Iterable[str]) -> Iterator[tuple[Address, Address]]:
    for text in texts:
        low, _, high = text.partition("-")
        try:
            first, last = address(low), address(high or low)
        except ValueError:
            continue
        if first.version == last.version and int(first) <= int(last):
            yield first, last


def all_but(cidr: str, used: Iterable[str]) -> Reserved:
    """All that may be given in an IPv4 subnet and is not in use: neither its first two addresses nor its last."""
    return Reserved(tuple(_gaps(parse_network(cidr), {int(address(ip)) for ip in used})))


def free(cidr: str, used: Iterable[str], leaked: Reserved) -> int:
    """How many addresses of an IPv4 subnet are left to give."""
    gaps = _gaps(parse_network(cidr), {int(address(ip)) for ip in used})
    return sum(leaked.until(low + n) is None for low, high in gaps for n in range(int(high) - int(low) + 1))


def _gaps(subnet: IPNetwork, taken: set[int]) -> Iterator[tuple[Address, Address]]:
    first, end = int(subnet[2]), int(subnet[-1])
    low = subnet[2]
    for stop in [*sorted(n for n in taken if first <= n < end), end]:
        if int(low) < stop:
            yield low, low + (stop - 1 - int(low))
        low += stop + 1 - int(low)
