"""IP families: splitting the comma-separated pairs of dual-stack settings, and the addresses of a subnet."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from k8snetlab.dataplane.rules import Family
from k8snetlab.errors import InputError

FAMILIES: tuple[Family, Family] = ("ipv4", "ipv6")


@lru_cache(maxsize=65536)
def family_of(address: str) -> Family:
    """The family of an address or CIDR."""
    return "ipv6" if ":" in address else "ipv4"


def same_family(one: str, other: str) -> bool:
    return family_of(one) == family_of(other)


def family_named(name: str) -> Family:
    """Raises InputError for any other name."""
    for family in FAMILIES:
        if family == name:
            return family
    raise InputError(f"{name!r} is no IP family", "ipv4 or ipv6")


def pick(values: str | Iterable[str], family: Family) -> str:
    """The first of `values` (or of a comma-separated text) that is of `family`, or ""."""
    items = values.split(",") if isinstance(values, str) else values
    return next((v.strip() for v in items if v.strip() and family_of(v) == family), "")


@lru_cache(maxsize=8192)
def parsed(address: str) -> IPv4Address | IPv6Address:
    return ip_address(address)


@lru_cache(maxsize=8192)
def network(cidr: str) -> IPv4Network | IPv6Network:
    """Host bits may be set."""
    return ip_network(cidr, strict=False)


@lru_cache(maxsize=4096)
def base(subnet: str) -> str:
    """The subnet's first address, "X.0": the address of a node's VTEP."""
    return str(network(subnet).network_address)


@lru_cache(maxsize=4096)
def gateway(subnet: str) -> str:
    """The subnet's second address, "X.1": cni0's."""
    return str(network(subnet).network_address + 1)


def with_length(address: str, cidr: str) -> str:
    """`address` with the prefix length of `cidr`: "172.30.76.4/24"."""
    return f"{address}/{network(cidr).prefixlen}"


def host(address: str) -> str:
    """`address` as a network of one: "/32" or "/128"."""
    return f"{address}/{ip_address(address).max_prefixlen}"


def is_address(text: str) -> bool:
    """Whether it is an address, and not one of a device alone ("fe80::1%eth0")."""
    try:
        return "%" not in str(ip_address(text))
    except ValueError:
        return False


def end(address: str, port: int) -> str:
    """ "10.0.0.1:80", "[fd00::1]:80"; without a port the address alone."""
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def parted(text: str) -> tuple[str, int]:
    """Address and port of what `end` wrote; the port 0 where there is none, the address "" of ":80" and ""."""
    if text.startswith("[") or text.count(":") == 1:
        address, _, port = text.rpartition(":")
        return address.strip("[]"), int(port)
    return text, 0
