"""The pod network between nodes, as flannel's backends make it.

Source: flannel pkg/backend/vxlan and pkg/backend/hostgw. vxlan: for each other node a PERMANENT FDB entry (its VTEP's
MAC to its address), a PERMANENT neighbour (its subnet's X.0 to that MAC) and an onlink route through X.0. host-gw: a
plain route through the node's address. directRouting: host-gw's route where the nodes share a link, vxlan elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from k8snetlab.api.core import Node
from k8snetlab.api.flannel import vtep_mac_of
from k8snetlab.api.lab import Lab
from k8snetlab.dataplane.links import Address, Link, Vxlan
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route
from k8snetlab.dataplane.rules import Family
from k8snetlab.render import names
from k8snetlab.render.families import FAMILIES, base, host, network, pick

VXLAN_OVERHEAD = {"ipv4": 50, "ipv6": 70}
"""Bytes that outer Ethernet, IP, UDP and VXLAN headers take from the underlay's MTU."""


class Overlay(msgspec.Struct, frozen=True):
    """What a backend puts into one node's namespace."""

    links: tuple[Link, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    fdb: tuple[FdbEntry, ...] = ()


def pod_mtu(lab: Lab) -> int:
    """The MTU of pods, cni0 and flannel.<vni>: given, or the underlay's less what the backend takes."""
    if lab.spec.network.mtu:
        return lab.spec.network.mtu
    if lab.spec.network.backend != "vxlan":
        return lab.spec.underlay.mtu
    families = [f for f in FAMILIES if pick(lab.spec.podCIDR, f)]
    return lab.spec.underlay.mtu - max(VXLAN_OVERHEAD[f] for f in families)


def render(lab: Lab, node: Node, others: Iterable[Node], device: str) -> Overlay:
    """The overlay of `node` towards `others`; `device` is the node's underlay interface."""
    others = tuple(others)
    parts = [_family(lab, node, others, device, family) for family in FAMILIES if pick(node.podCIDRs, family)]
    return Overlay(
        links=tuple(x for p in parts for x in p.links),
        addresses=tuple(x for p in parts for x in p.addresses),
        routes=tuple(x for p in parts for x in p.routes),
        neighbours=tuple(x for p in parts for x in p.neighbours),
        fdb=tuple(x for p in parts for x in p.fdb),
    )


def _family(lab: Lab, node: Node, others: tuple[Node, ...], device: str, family: Family) -> Overlay:
    spec = lab.spec.network
    local, subnet = pick(node.addresses, family), pick(node.podCIDRs, family)
    peers = [
        (pick(peer.podCIDRs, family), pick(peer.addresses, family), vtep_mac_of(peer, family))
        for peer in others
        if pick(peer.podCIDRs, family) and pick(peer.addresses, family)
    ]
    if spec.backend == "host-gw":
        return Overlay(routes=tuple(Route(subnet, dev=device, via=address) for subnet, address, _ in peers))
    tunnel = names.vxlan_device(spec.vni, family)
    on_link = [p for p in peers if spec.directRouting and _share_link(lab, local, p[1], family)]
    tunnelled = [p for p in peers if p not in on_link]
    return Overlay(
        links=(
            Vxlan(
                tunnel,
                vni=spec.vni,
                local=local,
                dev=device,
                port=spec.port,
                mac=vtep_mac_of(node, family),
                mtu=pod_mtu(lab),
            ),
        ),
        addresses=(Address(tunnel, host(base(subnet))),),
        routes=(
            *(Route(subnet, dev=tunnel, via=base(subnet), onlink=True) for subnet, _, _ in tunnelled),
            *(Route(subnet, dev=device, via=address) for subnet, address, _ in on_link),
        ),
        neighbours=tuple(Neighbour(tunnel, base(subnet), mac) for subnet, _, mac in tunnelled),
        fdb=tuple(FdbEntry(tunnel, mac, address) for _, address, mac in tunnelled),
    )


def _share_link(lab: Lab, one: str, other: str, family: Family) -> bool:
    cidr = pick(lab.spec.underlay.cidr, family)
    return bool(cidr) and all(host(a) and network(host(a)).subnet_of(network(cidr)) for a in (one, other))  # type: ignore[arg-type]
