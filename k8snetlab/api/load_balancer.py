"""Who gives Services of type LoadBalancer their addresses: the part of a lab file, and the annotations of a Service."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, summarize_address_range
from typing import Literal

import msgspec

from k8snetlab.api import addressing
from k8snetlab.api.addressing import Address
from k8snetlab.api.meta import Value, always
from k8snetlab.api.words import shorten

METALLB, DEPRECATED = "metallb.io/", "metallb.universe.tf/"
"""What the names of MetalLB's annotations begin with, today and as books print them."""
ADDRESSES, SHARING, POOL = "loadBalancerIPs", "allow-shared-ip", "address-pool"
"""Annotations of MetalLB's, without that."""
IP_MODE = "k8snetlab/load-balancer-ip-mode"
"""Annotation: what status.loadBalancer says of the address, VIP (default) or Proxy."""
PROXY_PROTOCOL = "k8snetlab/load-balancer-proxy-protocol"
"""Annotation: the balancer tells pods who the client is, by the PROXY protocol, v1 or v2."""
CLASS = "k8snetlab/load-balancer"
"""The loadBalancerClass that is the lab's own, as is none."""
ALB, ALB_CONTROLLER = "alb", "k8snetlab/alb"
"""The IngressClass of the cloud's balancer, and its controller."""
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
"""Label: no load balancer sends to this node."""
POOL_NAME = "pool"
"""Of the one pool that a lab has."""
MOST = 65_536
"""Addresses that a pool may have."""


class LoadBalancer(Value):
    """`mode` l2 and bgp are MetalLB's: a node answers ARP and NDP for the address, or all that may tell the router of
    it by BGP. With cloud, haproxy in the lab's router listens there and spreads over the nodes. `pool` are ranges
    (FIRST-LAST) or networks, from which Services get their addresses."""

    mode: Literal["none", "l2", "bgp", "cloud"] = always("none")
    pool: tuple[str, ...] = ()

    @property
    def networks(self) -> tuple[str, ...]:
        """What the router leads to the cluster, where nodes announce addresses by BGP: the pool, as networks."""
        return _networks(self.pool) if self.mode == "bgp" else ()


class Range(msgspec.Struct, frozen=True):
    """Addresses of one family, from the first to the last."""

    first: Address
    last: Address

    def __contains__(self, address: Address) -> bool:
        return address.version == self.first.version and int(self.first) <= int(address) <= int(self.last)

    @property
    def size(self) -> int:
        return int(self.last) - int(self.first) + 1

    def __iter__(self) -> Iterator[Address]:
        return (type(self.first)(number) for number in range(int(self.first), int(self.last) + 1))

    def overlaps(self, other: Range) -> bool:
        return other.first in self or other.last in self or self.first in other


@functools.lru_cache(maxsize=256)
def parsed(text: str) -> Range:
    """A range as a pool has it. Raises ValueError, saying what is wrong."""
    if "-" in text:
        first, last = (addressing.address(part.strip()) for part in text.split("-", 1))
    elif "/" in text:
        network = addressing.parse_network(text)
        first, last = network[0], network[-1]
    else:
        raise ValueError(
            f"{shorten(text)!r} is no range; write it like 192.168.0.200-192.168.0.220 or 192.168.0.192/27"
        )
    if first.version != last.version:
        raise ValueError(f"{shorten(text)!r} begins and ends in different families")
    if int(first) > int(last):
        raise ValueError(f"{shorten(text)!r} ends before it begins")
    return Range(first, last)


@functools.lru_cache(maxsize=64)
def _networks(pool: tuple[str, ...]) -> tuple[str, ...]:
    parts = [part for one in map(parsed, pool) for part in summarize_address_range(one.first, one.last)]
    four = [part for part in parts if isinstance(part, IPv4Network)]
    six = [part for part in parts if isinstance(part, IPv6Network)]
    return (*map(str, collapse_addresses(four)), *map(str, collapse_addresses(six)))


def annotation(annotations: Mapping[str, str], name: str) -> str:
    """One of MetalLB's, by either of its names; "" where there is none."""
    return annotations.get(METALLB + name) or annotations.get(DEPRECATED + name, "")
