"""The links of an underlay that has several: a bridge for each, the routers between them, and their cables.

All bridges stand in the router's namespace. Where the router is not on a link its bridge has no address: it switches,
and what passes there is not routed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from k8snetlab.api import bgp_routers, topology
from k8snetlab.api.lab import ROUTED, Lab, UnderlayLink
from k8snetlab.dataplane import names
from k8snetlab.dataplane.links import Address, Bridge, Device, Veth
from k8snetlab.dataplane.names import ROUTER
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.routing import Route
from k8snetlab.render.pods import NO_IPV6

SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.bridge.bridge-nf-call-iptables": "0",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv4.fib_multipath_hash_policy": "1",
}
"""A router's: ways may differ there and back, and each connection takes one of several that are as good."""


def is_found(lab: Lab) -> bool:
    """Whether routers find the ways to links by daemons: with Calico only where they are peers of its nodes."""
    return lab.spec.network.backend in ROUTED or bgp_routers.speak(lab)


def bridges(lab: Lab) -> Iterator[Bridge]:
    for link in lab.spec.underlay.links:
        own = topology.router_address(link, ROUTER) if ROUTER in link.routers else ""
        yield Bridge(link.name, mac=names.pod_mac(own) if own else "", mtu=lab.spec.underlay.mtu)


def cables(lab: Lab) -> Iterator[Veth]:
    """To the routers, but for the one whose namespace the bridges are in."""
    for end in topology.ends(lab):
        if end.is_router and end.name != ROUTER:
            yield Veth(
                names.underlay_veth(f"{end.name}-{end.link.name}"),
                peer=end.device,
                peer_netns=names.node_netns(lab.name, end.name),
                peer_mac=names.pod_mac(end.address),
                mtu=lab.spec.underlay.mtu,
                master=end.link.name,
            )


def addresses(lab: Lab, router: str) -> Iterator[Address]:
    for end in topology.of(lab, router):
        yield Address(end.device, f"{end.address}/{end.length}", broadcast=True)


def routes(lab: Lab, router: str) -> Iterator[Route]:
    """The ways to links that it is not on, and, from any router but the first, to everything else; none where daemons
    find them. They do not follow when a link dies."""
    if is_found(lab):
        return
    for link in lab.spec.underlay.links:
        if router not in link.routers:
            yield from _by(lab, router, link.cidr, link)
    if router != ROUTER and (hop := topology.next_hop(lab, router, (ROUTER,))):
        yield Route("default", dev=hop.link.name, via=hop.address)


def _by(lab: Lab, router: str, cidr: str, link: UnderlayLink) -> Iterator[Route]:
    if hop := topology.next_hop(lab, router, link.routers):
        yield Route(cidr, dev=hop.link.name, via=hop.address)


def way_to(lab: Lab, router: str, dst: str, node: str, via: str) -> Iterator[Route]:
    """A router's way to what a node with address `via` takes, by links as they are in the lab file."""
    link = topology.link_of(lab.spec.underlay, node)
    if link is None:
        yield Route(dst, dev=names.UNDERLAY_BRIDGE, via=via)
    elif router in link.routers:
        yield Route(dst, dev=link.name, via=via)
    else:
        yield from _by(lab, router, dst, link)


def namespaces(lab: Lab, external: Sequence[tuple[Route, ...]]) -> Iterator[Netns]:
    """Of the routers beside the first; `external` are the routes of each to addresses that nodes take for Services."""
    for name, more in zip(topology.routers(lab.spec.underlay)[1:], external, strict=True):
        yield Netns(
            name=names.node_netns(lab.name, name),
            hostname=name,
            role="router",
            sysctls=NO_IPV6 | SYSCTLS,
            links=(
                Device("lo"),
                *(
                    Device(end.device, mtu=lab.spec.underlay.mtu, mac=names.pod_mac(end.address))
                    for end in topology.of(lab, name)
                ),
            ),
            addresses=tuple(addresses(lab, name)),
            routes=(*more, *routes(lab, name)),
            networks=(lab.spec.podCIDR, lab.spec.underlay.cidr),
            learns=is_found(lab),
        )
