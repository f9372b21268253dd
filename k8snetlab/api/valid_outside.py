"""What can be wrong with the hosts of `spec.outside`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_interface

from k8snetlab.api import addressing
from k8snetlab.api.addressing import Address, IPNetwork, split
from k8snetlab.api.defaults import expanded_nodes
from k8snetlab.api.lab import Lab, OutsideHost
from k8snetlab.api.problems import RESERVED, Report, dns_label
from k8snetlab.api.words import Path

MOST = 64
"""Hosts: each is a namespace, and everybody may ask everybody."""
_HOSTS: Path = ("spec", "outside", "hosts")


def outside(report: Report, lab: Lab, underlay: Sequence[IPNetwork], others: Mapping[str, Sequence[IPNetwork]]) -> None:
    """`others` are the networks in which no host may be, by the field that tells them; those fields are checked."""
    hosts = lab.spec.outside.hosts
    if hosts and lab.spec.machines:
        report.error(lab, _HOSTS, "a lab of machines makes no hosts: what is outside there are machines of your own")
        return
    if len(hosts) > MOST:
        report.error(lab, _HOSTS, f"{len(hosts)} hosts are too many; at most {MOST}")
        return
    holders = _held(lab)
    nodes = {entry.name for entry in expanded_nodes(lab.spec)}
    names: set[str] = set()
    for number, host in enumerate(hosts):
        path: Path = (*_HOSTS, number)
        for problem in _of_name(host.name, nodes, names):
            report.error(lab, (*path, "name"), problem)
        names.add(host.name)
        for problem in _of_address(host, underlay, others, holders):
            report.error(lab, (*path, "address"), problem)
        for at, port in enumerate(host.ports):
            if port in host.ports[:at]:
                report.error(lab, (*path, "ports", at), f"{port} is written twice; leave one out")


def _of_name(name: str, nodes: set[str], names: set[str]) -> Iterator[str]:
    if problem := dns_label(name):
        yield problem
    elif name in RESERVED:
        yield f'"{name}" is taken by the lab itself; choose another name'
    elif name in nodes:
        yield f'"{name}" is the name of a node; choose another name'
    elif name in names:
        yield f'"{name}" names another host already'


def _of_address(
    host: OutsideHost,
    underlay: Sequence[IPNetwork],
    others: Mapping[str, Sequence[IPNetwork]],
    holders: dict[Address, str],
) -> Iterator[str]:
    """Its addresses come to `holders`, which are those that others have."""
    try:
        own = [addressing.address(text) for text in split(host.address)]
    except ValueError as error:
        yield str(error)
        return
    if not own or len({one.version for one in own}) < len(own):
        yield "takes one address, or one IPv4 and one IPv6 address separated by a comma"
        return
    sides = [_around(one, underlay) is not None for one in own]
    if any(sides) and not all(sides):
        yield "one address is in spec.underlay.cidr and one is not: a host stands beside the nodes or beyond the router"
    for one in own:
        if one in holders:
            yield f"{one} is the address of {holders[one]} already; give each its own"
        holders[one] = f"host {host.name}"
        yield from _of_place(one, underlay, others)


def _of_place(one: Address, underlay: Sequence[IPNetwork], others: Mapping[str, Sequence[IPNetwork]]) -> Iterator[str]:
    beside = _around(one, underlay)
    if beside is not None:
        if one in (beside.network_address, beside.broadcast_address):
            yield f"{one} is the network or broadcast address of {beside}"
        return
    if one.is_loopback or one.is_multicast or one.is_link_local or one.is_unspecified:
        yield f"{one} is reserved (loopback, link-local or multicast)"
    if underlay and not any(network.version == one.version for network in underlay):
        yield f"{one} needs an IPv{one.version} range in spec.underlay.cidr: no node could ask it"
    for field, networks in others.items():
        if inside := _around(one, networks):
            yield f"{one} is in {field} {inside}; an outside host has an address of its own"


def _around(one: Address, networks: Sequence[IPNetwork]) -> IPNetwork | None:
    return next((network for network in networks if network.version == one.version and one in network), None)


def _held(lab: Lab) -> dict[Address, str]:
    """The addresses that are the lab's own, with whose they are; what cannot be read is reported elsewhere."""
    spec = lab.spec
    found: dict[Address, str] = {}
    try:
        for text in split(spec.underlay.outside):
            interface = ip_interface(text)
            found[interface.ip] = "the host outside"
            first = interface.network.network_address + 1
            found.setdefault(first if first != interface.ip else first + 1, "the router")
        found |= dict.fromkeys(map(addressing.address, split(spec.underlay.router)), "the router")
        for entry in expanded_nodes(spec):
            found |= dict.fromkeys(map(addressing.address, split(entry.address)), entry.name)
    except ValueError:
        return {}
    return found
