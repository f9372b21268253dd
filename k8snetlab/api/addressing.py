"""Addresses of a lab: comma-separated dual-stack values, node addresses in the underlay, subnets of the pod network.

Source of the subnet sizes: flannel pkg/subnet/config.go (SubnetLen 24 where the network is /22 or wider, else
network + 2; SubnetMin skips the first subnet) and, for IPv6, kube-controller-manager's --node-cidr-mask-size-ipv6 (64).
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import msgspec

from k8snetlab.api.words import shorten
from k8snetlab.wording import whole

Address = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

FIRST_NODE = 21
"""The reference cluster's first node is 192.168.0.21."""


def split(text: str) -> list[str]:
    """The comma-separated values of a field that holds one per family."""
    return [part.strip() for part in text.split(",") if part.strip()]


def parse_networks(text: str) -> list[IPNetwork]:
    """Raises ValueError for what is no network, has host bits, or is not written the canonical way."""
    return [parse_network(part) for part in split(text)]


@functools.lru_cache(maxsize=4096)
def parse_network(text: str) -> IPNetwork:
    """As `parse_networks`, of one."""
    if "/" not in text:
        raise ValueError(f"{shorten(text)!r} has no prefix length; write it like 10.244.0.0/16")
    address, _, length = text.partition("/")
    if str(whole(length)) != length:
        raise ValueError(f"{shorten(length)!r} is no prefix length; write it like 10.244.0.0/16")
    ip = canonical(address)
    if int(length) > ip.max_prefixlen:
        raise ValueError(f"/{length} is too long for IPv{ip.version}; at most /{ip.max_prefixlen}")
    parsed = ip_network((ip, int(length)), strict=False)
    if str(parsed) != text:
        raise ValueError(f"{shorten(text)!r} has bits set beyond its prefix; the network is {parsed}")
    return parsed


def address(text: str) -> Address:
    """Raises ValueError, saying why, for what is no address or not written the canonical way."""
    parsed = canonical(text)
    if str(parsed) != text:
        raise ValueError(f"{shorten(text)!r} is not the usual way to write {parsed}")
    return parsed


def api_address(text: str) -> Address:
    """An address as the API server takes it: IPv6 in any spelling, but no leading zeros, no IPv4 in IPv6's clothes.

    Raises ValueError in its words. Source: apimachinery pkg/util/validation (IsValidIP, strict since 1.36).
    """
    try:
        parsed = canonical(text)
    except ValueError as error:
        if "leading zeros" in str(error):
            raise ValueError(f'Invalid value: "{text}": must not have leading 0s') from None
        raise ValueError(
            f'Invalid value: "{shorten(text)}": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'
        ) from None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        raise ValueError(f'Invalid value: "{text}": must not be an IPv4-mapped IPv6 address')
    return parsed


def api_network(text: str, strict: bool = True) -> IPNetwork:
    """A network as the API server takes it; not `strict`, as kube-proxy reads its configuration, which masks host bits.

    Raises ValueError in their words.
    """
    address, slash, length = text.partition("/")
    try:
        if not slash or not length.isascii() or not length.isdecimal() or len(length) > 3:
            raise ValueError
        parsed = canonical(address)
        network = ip_network((parsed, int(length)), strict=False)
    except ValueError as error:
        if "leading zeros" in str(error):
            raise ValueError(f'Invalid value: "{text}": must not have leading 0s in IP') from None
        raise ValueError(
            f'Invalid value: "{shorten(text)}": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)'
        ) from None
    if strict and str(int(length)) != length:
        raise ValueError(f'Invalid value: "{text}": must not have leading 0s in prefix length')
    if strict and isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        raise ValueError(f'Invalid value: "{text}": must not have an IPv4-mapped IPv6 address')
    if strict and parsed != network.network_address:
        raise ValueError(f'Invalid value: "{text}": must not have bits set beyond the prefix length; write {network}')
    return network


@functools.lru_cache(maxsize=65536)
def same(text: str) -> str:
    """The one form of an address, however it is written; what is no address stays as it is."""
    if ":" not in text:
        return text
    try:
        return str(ip_address(text))
    except ValueError:
        return text


def ipv4(text: str) -> bytes | None:
    """The four octets of an IPv4 address. The same texts are taken as by IPv4Address, in a sixth of the time."""
    if ":" in text:
        return None
    try:
        return socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        return None


def canonical(text: str) -> Address:
    if (packed := ipv4(text)) is not None:
        return IPv4Address(packed)
    try:
        if "%" in text or "/" in text:
            raise ValueError(text)
        return ip_address(text)
    except ValueError:
        octets = text.split(".")
        if len(octets) == 4 and all(len(o) < 9 and o.isascii() and o.isdecimal() and int(o) < 256 for o in octets):
            plain = ".".join(str(int(o)) for o in octets)
            raise ValueError(f"{text!r} has leading zeros (read as octal by some programs); write {plain}") from None
        raise ValueError(f"{shorten(text)!r} is no IP address") from None


def node_addresses(cidr: IPNetwork, taken: Iterable[Address]) -> Iterator[Address]:
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


def subnet_length(cidr: IPNetwork) -> int:
    if cidr.version == 4:
        return 24 if cidr.prefixlen <= 22 else cidr.prefixlen + 2
    return 64 if cidr.prefixlen <= 62 else cidr.prefixlen + 2


class SubnetRange(msgspec.Struct, frozen=True):
    """Which subnets of `network` nodes may get: those of `length`, from the one that begins at `first` to the one that
    begins at `last`; flannel's SubnetLen, SubnetMin and SubnetMax."""

    network: IPNetwork
    length: int
    first: Address
    last: Address

    @property
    def size(self) -> int:
        """The number of addresses in one subnet."""
        return 1 << (self.network.max_prefixlen - self.length)

    @property
    def room(self) -> int:
        """For how many nodes there are subnets."""
        return max(0, (int(self.last) - int(self.first)) // self.size + 1)

    def has(self, subnet: IPNetwork) -> bool:
        """Whether `subnet` is one of them."""
        same = subnet.version == self.network.version and subnet.prefixlen == self.length
        return same and int(self.first) <= int(subnet.network_address) <= int(self.last)


def subnet_range(cidr: IPNetwork, length: int | None = None, first: str = "", last: str = "") -> SubnetRange:
    """The subnets of `cidr`, by flannel's defaults where nothing is said. Raises ValueError, saying what is wrong."""
    longest = cidr.max_prefixlen - 2
    if length is None:
        length = subnet_length(cidr)
        if length > longest:
            raise ValueError(f"{cidr} is too small to be divided among nodes; use a /16")
    if not cidr.prefixlen + 2 <= length <= longest:
        raise ValueError(
            f"{cidr} cannot be divided into /{length}: take /{cidr.prefixlen + 2} (the first subnet is not used) to"
            f" /{longest} (a subnet needs room for pods)"
        )
    size = 1 << (cidr.max_prefixlen - length)
    lowest = address(first) if first else cidr[size]
    highest = address(last) if last else cidr[cidr.num_addresses - size]
    for end in (lowest, highest):
        if end.version != cidr.version or end not in cidr:
            raise ValueError(f"{end} is not in {cidr}")
        if int(end) % size:
            raise ValueError(f"no /{length} begins at {end}; the one around it begins at {_base(end, length)}")
    if int(lowest) > int(highest):
        raise ValueError(f"the subnets end at {highest}, before they begin at {lowest}")
    return SubnetRange(cidr, length, lowest, highest)


def free_subnet(subnets: SubnetRange, taken: Iterable[IPNetwork]) -> IPNetwork | None:
    """The first of `subnets` that overlaps none of `taken`."""
    candidate, size = int(subnets.first), subnets.size
    used = [(int(t.network_address), int(t.broadcast_address)) for t in taken if t.version == subnets.network.version]
    for start, end in sorted(used):
        if start >= candidate + size:
            break
        if end >= candidate:
            candidate = (end // size + 1) * size
    if candidate > int(subnets.last):
        return None
    return type(subnets.network)((candidate, subnets.length))


def _base(address: Address, length: int) -> Address:
    return ip_network((address, length), strict=False).network_address
