"""Addresses of a lab: comma-separated dual-stack values, node addresses in the underlay, subnets of the pod network.

Source of the subnet sizes: flannel pkg/subnet/config.go (SubnetLen 24 where the network is /22 or wider, else
network + 2; SubnetMin skips the first subnet) and, for IPv6, kube-controller-manager's --node-cidr-mask-size-ipv6 (64).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

FIRST_NODE = 21
"""The reference cluster's first node is 192.168.0.21."""


def split(text: str) -> list[str]:
    """The comma-separated values of a field that holds one per family."""
    return [part.strip() for part in text.split(",") if part.strip()]


def networks(text: str) -> list[Network]:
    """Raises ValueError for what is no network, has host bits, or is not written the canonical way."""
    return [network(part) for part in split(text)]


def network(text: str) -> Network:
    if "/" not in text:
        raise ValueError(f"{text!r} has no prefix length; write it like 10.244.0.0/16")
    address, _, length = text.partition("/")
    if not length.isdecimal() or str(int(length)) != length:
        raise ValueError(f"{length!r} is no prefix length; write it like 10.244.0.0/16")
    ip = canonical(address)
    if len(length) > 3 or int(length) > ip.max_prefixlen:
        raise ValueError(f"/{length} is too long for IPv{ip.version}; at most /{ip.max_prefixlen}")
    parsed = ip_network((ip, int(length)), strict=False)
    if str(parsed) != text:
        raise ValueError(f"{text!r} has bits set beyond its prefix; the network is {parsed}")
    return parsed


def address(text: str) -> Address:
    """Raises ValueError, saying why, for what is no address or not written the canonical way."""
    parsed = canonical(text)
    if str(parsed) != text:
        raise ValueError(f"{text!r} is not the usual way to write {parsed}")
    return parsed


def canonical(text: str) -> Address:
    try:
        if "%" in text or "/" in text:
            raise ValueError(text)
        return ip_address(text)
    except ValueError:
        octets = text.split(".")
        if len(octets) == 4 and all(o.isdecimal() and int(o) < 256 for o in octets if len(o) < 9):
            plain = ".".join(str(int(o)) for o in octets)
            raise ValueError(f"{text!r} has leading zeros (read as octal by some programs); write {plain}") from None
        raise ValueError(f"{text!r} is no IP address") from None


def node_addresses(cidr: Network, taken: Iterable[Address]) -> Iterator[Address]:
    """Addresses for nodes in order: .21, .22 … where the network has room for them, then whatever else is free.

    IPv6 addresses show the same digits: fd00::21, fd00::22 …
    """
    used = {cidr.network_address, cidr.broadcast_address, *taken}
    size = cidr.num_addresses
    seen = set()
    for number in range(FIRST_NODE, min(size, FIRST_NODE + 2000)):
        offset = number if cidr.version == 4 else int(str(number), 16)
        if offset < size:
            candidate = cidr[offset]
            seen.add(candidate)
            if candidate not in used:
                yield candidate
    for offset in range(1, min(size, 4096)):
        candidate = cidr[offset]
        if candidate not in used and candidate not in seen:
            yield candidate


def subnet_length(cidr: Network) -> int:
    if cidr.version == 4:
        return 24 if cidr.prefixlen <= 22 else cidr.prefixlen + 2
    return 64 if cidr.prefixlen <= 62 else cidr.prefixlen + 2


def free_subnet(cidr: Network, taken: Iterable[Network]) -> Network | None:
    """The first subnet of a node's size that overlaps none of `taken`; the first of all is skipped, as flannel does."""
    length = subnet_length(cidr)
    if length > cidr.max_prefixlen:
        return None
    step = 1 << (cidr.max_prefixlen - length)
    used = [t for t in taken if t.version == cidr.version]
    for number in range(1, min(cidr.num_addresses // step, 1 << 16)):
        candidate = ip_network((int(cidr.network_address) + number * step, length))
        if not any(candidate.overlaps(t) for t in used):
            return candidate
    return None
