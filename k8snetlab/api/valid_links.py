"""What can be wrong with an underlay of several links."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network

from k8snetlab.api import addressing, topology
from k8snetlab.api.addressing import IPNetwork
from k8snetlab.api.defaults import expanded_nodes
from k8snetlab.api.lab import Backend, Lab, UnderlayLink
from k8snetlab.api.problems import RESERVED, Report, dns_label
from k8snetlab.api.words import Path, shorten
from k8snetlab.dataplane.names import ROUTER

UNDERLAY: Path = ("spec", "underlay")
LINKS: Path = (*UNDERLAY, "links")
BACKENDS: tuple[Backend, ...] = ("vxlan", "bgp", "ospf", "rip", "calico")
"""Those whose packets find their way by routers: of vxlan, and of calico's tunnels, the outer ones, by routes that stay
as they are."""
MOST = 64
"""Links, and routers."""
LAST = 4_294_967_294
"""The largest number of an autonomous system that BGP may give (RFC 7300)."""
LONGEST = 12
"""Letters of a link's name, which is a device's."""


def links(report: Report, lab: Lab, underlay: Sequence[IPNetwork]) -> None:
    wanted = lab.spec.underlay
    if not wanted.links:
        if wanted.routers:
            report.error(lab, (*UNDERLAY, "routers"), "stand between links: say underlay.links, too")
        return
    for where, problem in (*_beside(lab), *_routers(lab)):
        report.error(lab, where, problem)
    seen: list[tuple[UnderlayLink, IPv4Network | None]] = []
    for number, link in enumerate(wanted.links):
        path: Path = (*LINKS, number)
        for field, problem in (*_named(lab, link, [one for one, _ in seen]), *_members(lab, link)):
            report.error(lab, (*path, field), problem)
        cidr, problem = _network(link, underlay, seen)
        if problem:
            report.error(lab, (*path, "cidr"), problem)
        if cidr and not problem:
            for at, problem in _addresses(lab, link, cidr):
                report.error(lab, at, problem)
        seen.append((link, cidr))
    _connected(report, lab)


def _beside(lab: Lab) -> Iterator[tuple[Path, str]]:
    """What does not go with several links."""
    spec, backend = lab.spec, lab.spec.network.backend
    if spec.machines:
        yield LINKS, "are of labs whose nodes are namespaces: machines stand in a network of others"
    if backend not in BACKENDS:
        why = f"{backend} needs every node on one link"
        yield LINKS, f"{why}; several links go with network.backend {', '.join(BACKENDS)}"
    if ":" in spec.underlay.cidr + spec.podCIDR:
        yield LINKS, "are of IPv4 alone: spec.underlay.cidr and spec.podCIDR are to have no IPv6 network"
    last = spec.network.routing.asNumber + len(topology.routers(spec.underlay))
    if backend == "bgp" and last > LAST:
        words = f"each router has the next one, up to {last}; the largest is {LAST}"
        yield ("spec", "network", "routing", "asNumber"), words
    if spec.loadBalancer.mode != "none":
        yield ("spec", "loadBalancer", "mode"), f"{spec.loadBalancer.mode} needs every node on one link with the router"
    if spec.controlPlane.replicas or spec.controlPlane.etcd:
        yield ("spec", "controlPlane"), "its nodes stand on one link with the router; underlay.links has several"
    if len(spec.underlay.links) > MOST or len(spec.underlay.routers) > MOST:
        yield LINKS, f"at most {MOST} links and {MOST} routers"
    for number, host in enumerate(spec.outside.hosts):
        if host.is_beside(spec.underlay):
            yield ("spec", "outside", "hosts", number, "address"), "a host beside nodes needs one link for all of them"


def _routers(lab: Lab) -> Iterator[tuple[Path, str]]:
    underlay, seen = lab.spec.underlay, set[str]()
    taken = {*(node.name for node in expanded_nodes(lab.spec)), *(host.name for host in lab.spec.outside.hosts)}
    used = {name for link in underlay.links for name in link.routers}
    for number, name in enumerate(underlay.routers):
        path: Path = (*UNDERLAY, "routers", number)
        if problem := dns_label(name):
            yield path, problem
        elif name in RESERVED - {ROUTER} or name in taken:
            yield path, f'"{shorten(name)}" is taken already; choose another name'
        elif name in seen:
            yield path, f'"{shorten(name)}" names another router already'
        elif name not in used:
            yield path, f"{shorten(name)} is on no link; name it in the routers of one"
        seen.add(name)
    if ROUTER not in used:
        yield LINKS, f"{ROUTER}, which leads to the outside, is on no link; name it in the routers of one"


def _named(lab: Lab, link: UnderlayLink, before: Sequence[UnderlayLink]) -> Iterator[tuple[str, str]]:
    nodes = {node.name for node in expanded_nodes(lab.spec)}
    if problem := dns_label(link.name):
        yield "name", problem
    elif len(link.name) > LONGEST:
        yield "name", f"{shorten(link.name)} is too long for a device; at most {LONGEST} letters"
    elif link.name in RESERVED or link.name in {*nodes, *lab.spec.underlay.routers}:
        yield "name", f'"{shorten(link.name)}" is taken already; choose another name'
    elif any(link.name == one.name for one in before):
        yield "name", f'"{shorten(link.name)}" names another link already'
    if link.cost != 10 and lab.spec.network.backend in ("rip", "bgp"):
        yield "cost", f"means nothing to {lab.spec.network.backend}, which counts routers; ospf has costs"


def _members(lab: Lab, link: UnderlayLink) -> Iterator[tuple[str, str]]:
    known = {ROUTER, *lab.spec.underlay.routers}
    nodes = {node.name for node in expanded_nodes(lab.spec)}
    if not link.routers:
        yield "routers", "needs one, by which its nodes reach others"
    for name in link.routers:
        if name not in known:
            yield "routers", f"{shorten(name)!r} is no router; name it in spec.underlay.routers"
    if len({*link.routers, *link.nodes}) < len(link.routers) + len(link.nodes):
        yield "routers", "names somebody twice"
    for name in link.nodes:
        if name not in nodes:
            yield "nodes", f"{shorten(name)!r} is no node of this lab"
        elif topology.link_of(lab.spec.underlay, name) is not link:
            yield "nodes", f"{shorten(name)} stands on another link already; a node has one"


def _network(
    link: UnderlayLink, underlay: Sequence[IPNetwork], seen: Sequence[tuple[UnderlayLink, IPv4Network | None]]
) -> tuple[IPv4Network | None, str]:
    """As it is read, and what is wrong with it."""
    try:
        cidr = addressing.parse_network(link.cidr)
    except ValueError as error:
        return None, str(error)
    if not isinstance(cidr, IPv4Network):
        return None, f"{cidr} is no IPv4 network"
    if other := next((one.name for one, their in seen if their and their.overlaps(cidr)), ""):
        return cidr, f"{cidr} overlaps the network of link {shorten(other)}"
    if not any(isinstance(whole, IPv4Network) and cidr.subnet_of(whole) for whole in underlay):
        return cidr, f"{cidr} is no part of spec.underlay.cidr {','.join(map(str, underlay))}"
    if cidr.num_addresses < len(link.routers) + len(link.nodes) + 2:
        return cidr, f"{cidr} is too small for {len(link.routers)} routers and {len(link.nodes)} nodes"
    return cidr, ""


def _addresses(lab: Lab, link: UnderlayLink, cidr: IPv4Network) -> Iterator[tuple[Path, str]]:
    """Those of its nodes, given or not."""
    routers = {topology.router_address(link, name): name for name in link.routers}
    for number, node in enumerate(expanded_nodes(lab.spec)):
        if node.name not in link.nodes or not node.address:
            continue
        path: Path = ("spec", "nodes", number, "address")
        try:
            inside = addressing.address(node.address) in cidr
        except ValueError:
            continue  # reported as what it is
        if not inside:
            yield path, f"{shorten(node.address)} is not of link {shorten(link.name)}, {cidr}"
        elif node.address in routers:
            yield (
                path,
                f"{node.address} is the address of {shorten(routers[node.address])} on link {shorten(link.name)}",
            )


def _connected(report: Report, lab: Lab) -> None:
    underlay = lab.spec.underlay
    for number, node in enumerate(expanded_nodes(lab.spec)):
        if topology.link_of(underlay, node.name) is None:
            report.error(
                lab, ("spec", "nodes", number), f"{shorten(node.name)} is on no link; name it in the nodes of one"
            )
    known = {ROUTER}
    while True:
        near = {name for link in underlay.links if known.intersection(link.routers) for name in link.routers}
        if near <= known:
            break
        known |= near
    for number, link in enumerate(underlay.links):
        if link.routers and not known.intersection(link.routers):
            report.error(lab, (*LINKS, number), f"{shorten(link.name)} is apart: no way leads from it to {ROUTER}")
