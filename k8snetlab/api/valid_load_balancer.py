"""What can be wrong with a Lab's loadBalancer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_interface

from k8snetlab.api import addressing
from k8snetlab.api.addressing import IPNetwork, split
from k8snetlab.api.defaults import expanded_nodes
from k8snetlab.api.lab import Backend, Lab
from k8snetlab.api.load_balancer import MOST, LoadBalancer, Range, parsed
from k8snetlab.api.problems import Report
from k8snetlab.api.words import Path

MODE: Path = ("spec", "loadBalancer", "mode")
POOL: Path = ("spec", "loadBalancer", "pool")
SPEAKING: tuple[Backend, ...] = ("vxlan", "host-gw", "bgp")
"""The backends beside which nodes may announce addresses by BGP."""


def load_balancer(report: Report, lab: Lab, underlay: Sequence[IPNetwork], inside: Sequence[IPNetwork]) -> None:
    """`inside` are the networks of pods and Services."""
    wanted = lab.spec.loadBalancer
    if wanted.mode == "none":
        if wanted != LoadBalancer():
            report.warn(lab, POOL, "means nothing with mode none")
    elif lab.spec.machines and wanted.mode != "l2":
        report.error(lab, MODE, f"{wanted.mode} needs the lab's own router, which machines do not have; use l2")
    elif wanted.mode == "bgp" and (lab.spec.network.backend not in SPEAKING or lab.spec.daemon == "frr"):
        report.error(lab, MODE, _unspoken(lab))
    else:
        if lab.spec.machines:
            report.warn(lab, POOL, "is answered for in the machines' own network: nobody else there may have these")
        _pool(report, lab, underlay, inside)


def _unspoken(lab: Lab) -> str:
    backend = lab.spec.network.backend
    why = "Calico's BIRD has port 179 of every node" if backend == "calico" else f"nodes speak {backend} already"
    return f"{why}: bgp goes with network.backend {', '.join(SPEAKING)}; use those, or mode l2"


def _pool(report: Report, lab: Lab, underlay: Sequence[IPNetwork], inside: Sequence[IPNetwork]) -> None:
    pool = lab.spec.loadBalancer.pool
    if not pool:
        report.error(lab, POOL, "needs a range of addresses, like [192.168.0.200-192.168.0.220]")
    known: list[Range] = []
    for number, text in enumerate(pool):
        path: Path = (*POOL, number)
        try:
            one = parsed(text)
        except ValueError as error:
            report.error(lab, path, str(error))
            continue
        try:
            problems = [*_of_link(lab, one, underlay), *_overlapping(lab, one, inside)]
        except ValueError:
            problems = []  # an address or network that cannot be read is reported as that
        if any(one.overlaps(other) for other in known):
            problems.append(f"{text} overlaps another range of the pool")
        for problem in problems:
            report.error(lab, path, problem)
        known.append(one)


def _of_link(lab: Lab, one: Range, underlay: Sequence[IPNetwork]) -> Iterator[str]:
    """What speaks against a range in view of the nodes' own network."""
    written = f"{one.first}-{one.last}"
    if one.size > MOST:
        yield f"{written} has {one.size} addresses; at most {MOST}"
    link = next((n for n in underlay if n.version == one.first.version), None)
    if link is None:
        if underlay:
            yield f"{written} needs an IPv{one.first.version} range in spec.underlay.cidr too"
        return
    on_link = one.first in link and one.last in link
    if lab.spec.loadBalancer.mode == "l2" and not on_link:
        yield f"{written} is not inside spec.underlay.cidr {link}: only there does anybody ask for it by ARP or NDP"
    if lab.spec.loadBalancer.mode == "bgp" and one.overlaps(Range(link[0], link[-1])):
        yield (
            f"{written} is of spec.underlay.cidr {link}, where hosts ask for it by ARP or NDP, and no node answers; "
            "take a network of its own, like 198.51.100.0/24"
        )
    elif on_link and link.version == 4 and (link[0] in one or link[-1] in one):
        yield f"{written} has the network's or the broadcast address of {link}"


def _overlapping(lab: Lab, one: Range, inside: Sequence[IPNetwork]) -> Iterator[str]:
    written = f"{one.first}-{one.last}"
    for network in inside:
        if _within(one, network):
            yield f"{written} overlaps {network}, which is pods' or Services'"
    for holder, address in _taken(lab):
        if addressing.address(address) in one:
            yield f"{written} has {address}, the address of {holder}"
    for text in split(lab.spec.underlay.outside):
        if _within(one, ip_interface(text).network):
            yield f"{written} overlaps {ip_interface(text).network}, the outside's network"


def _within(one: Range, network: IPNetwork) -> bool:
    return one.overlaps(Range(network[0], network[-1]))


def _taken(lab: Lab) -> Iterator[tuple[str, str]]:
    for text in split(lab.spec.underlay.router):
        yield "the router", text
    for node in expanded_nodes(lab.spec):
        for text in split(node.address):
            yield node.name, text
    for host in lab.spec.hosts:
        for text in host.addresses:
            yield host.name, text
