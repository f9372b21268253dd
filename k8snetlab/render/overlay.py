"""The pod network between nodes, as flannel's backends make it.

Source: flannel pkg/backend/vxlan and pkg/backend/hostgw. vxlan: for each other node a PERMANENT FDB entry (its VTEP's
MAC to its address), a PERMANENT neighbour (its subnet's X.0 to that MAC) and an onlink route through X.0. host-gw: a
plain route through the node's address. alloc: nothing, daemons make the routes (`render.routing`).
directRouting: host-gw's route where the nodes share a link, vxlan elsewhere.

Early flannel (0.2 to 0.4): `routes: flat`, one route for the pod network and a neighbour for each pod, and `resolve:
on-miss`, no entries but what the kernel asks for. app_solicit lets it ask in user space before it asks on the wire.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from k8snetlab.api import pools, topology
from k8snetlab.api.core import Node, Pod
from k8snetlab.api.flannel import vtep_mac_of
from k8snetlab.api.lab import Lab
from k8snetlab.api.scheme import store_key
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import FAMILIES, base, gateway, host, network, pick
from k8snetlab.dataplane.links import Address, Link, Vxlan
from k8snetlab.dataplane.resolution import Resolution
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route
from k8snetlab.dataplane.rules import Family

VXLAN_OVERHEAD = {"ipv4": 50, "ipv6": 70}
"""Bytes that outer Ethernet, IP, UDP and VXLAN headers take from the underlay's MTU."""
APP_SOLICIT = "3"
"""Misses the kernel raises, a second apart, before it gives an address up; flannel's number."""


class Overlay(msgspec.Struct, frozen=True):
    """What a backend puts into one node's namespace; `resolutions` answer the kernel's misses beyond that."""

    sysctls: Mapping[str, str] = {}
    links: tuple[Link, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    fdb: tuple[FdbEntry, ...] = ()
    resolutions: tuple[Resolution, ...] = ()


class _Peer(msgspec.Struct, frozen=True):
    """Another node, in one family: its pod subnet, its underlay address, its VTEP's MAC."""

    subnet: str
    address: str
    mac: str
    node: Node


def pod_mtu(lab: Lab) -> int:
    """The MTU of pods, cni0 and flannel.<vni>: given, or the underlay's less what the backend takes."""
    if lab.spec.network.mtu:
        return lab.spec.network.mtu
    if lab.spec.network.backend != "vxlan":
        return lab.spec.underlay.mtu - pools.overhead(pools.pools(lab))
    families = [f for f in FAMILIES if pick(lab.spec.podCIDR, f)]
    return lab.spec.underlay.mtu - max(VXLAN_OVERHEAD[f] for f in families)


def tunnels(lab: Lab) -> tuple[str, ...]:
    """The devices that any backend may have made here."""
    return tuple(names.vxlan_device(lab.spec.network.vni, family) for family in FAMILIES)


def knows_pods(lab: Lab) -> bool:
    """Whether there is an entry for every pod of the cluster on every node."""
    network = lab.spec.network
    return network.backend == "vxlan" and network.routes == "flat" and network.resolve == "proactive"


def render(lab: Lab, node: Node, others: Iterable[Node], device: str, pods: Iterable[Pod] = ()) -> Overlay:
    """The overlay of `node` towards `others` and, where the lab `knows_pods`, towards their `pods`.

    `device` is the node's underlay interface.
    """
    others, pods = tuple(others), tuple(pods)
    families = (family for family in FAMILIES if pick(node.podCIDRs, family))
    parts = [_family(_Context(lab, node, device, family), others, pods) for family in families]
    return Overlay(
        sysctls={key: value for p in parts for key, value in p.sysctls.items()},
        links=tuple(x for p in parts for x in p.links),
        addresses=tuple(x for p in parts for x in p.addresses),
        routes=tuple(x for p in parts for x in p.routes),
        neighbours=tuple(x for p in parts for x in p.neighbours),
        fdb=tuple(x for p in parts for x in p.fdb),
        resolutions=tuple(x for p in parts for x in p.resolutions),
    )


class _Context(NamedTuple):
    """For what the overlay is rendered: a node, its device of the underlay, one family."""

    lab: Lab
    node: Node
    device: str
    family: Family


def _family(context: _Context, others: tuple[Node, ...], pods: tuple[Pod, ...]) -> Overlay:
    family = context.family
    peers = [
        _Peer(subnet, address, vtep_mac_of(peer, family), peer)
        for peer in others
        if peer.network_available
        and (subnet := pick(peer.podCIDRs, family))
        and (address := pick(peer.addresses, family))
    ]
    if context.lab.spec.network.routed or context.lab.spec.network.calico:
        return Overlay()
    if context.lab.spec.network.backend == "host-gw":
        return Overlay(routes=tuple(Route(peer.subnet, dev=context.device, via=peer.address) for peer in peers))
    return _vxlan(context, peers, pods)


def _vxlan(context: _Context, peers: list[_Peer], pods: tuple[Pod, ...]) -> Overlay:
    lab, node, device, family = context
    spec = lab.spec.network
    local, subnet = pick(node.addresses, family), pick(node.podCIDRs, family)
    tunnel = names.vxlan_device(spec.vni, family)
    on_link = [p for p in peers if spec.directRouting and _share_link(lab, local, p.address, family)]
    on_link = [p for p in on_link if topology.shares_link(lab.spec.underlay, node.name, p.node.name)]
    tunnelled = [p for p in peers if p not in on_link]
    flat, on_miss = spec.routes == "flat", spec.resolve == "on-miss"
    link = Vxlan(
        tunnel,
        vni=spec.vni,
        local=local,
        dev=device,
        port=spec.port,
        mac=vtep_mac_of(node, family),
        mtu=pod_mtu(lab),
        l2miss=on_miss,
        l3miss=on_miss,
    )
    if flat:
        routes = [Route(pick(lab.spec.podCIDR, family), dev=tunnel)]
    else:
        routes = [Route(peer.subnet, dev=tunnel, via=base(peer.subnet), onlink=True) for peer in tunnelled]
    routes += [Route(peer.subnet, dev=device, via=peer.address) for peer in on_link]
    overlay = Overlay(links=(link,), addresses=(Address(tunnel, host(base(subnet))),), routes=tuple(routes))
    if on_miss:
        return msgspec.structs.replace(
            overlay,
            sysctls={f"net.{family}.neigh.{tunnel.replace('.', '/')}.app_solicit": APP_SOLICIT},
            resolutions=tuple(
                Resolution(tunnel, p.subnet if flat else host(base(p.subnet)), p.mac, p.address, store_key(p.node))
                for p in tunnelled
            ),
        )
    return msgspec.structs.replace(
        overlay,
        neighbours=tuple(
            Neighbour(tunnel, address, peer.mac)
            for peer in tunnelled
            for address in (_addresses_in_use(peer, pods, family) if flat else (base(peer.subnet),))
        ),
        fdb=tuple(FdbEntry(tunnel, peer.mac, peer.address) for peer in tunnelled),
    )


def _addresses_in_use(peer: _Peer, pods: tuple[Pod, ...], family: Family) -> Iterator[str]:
    """Every address in use on a node's pod subnet: its VTEP's, its bridge's, its pods'."""
    yield base(peer.subnet)
    yield gateway(peer.subnet)
    for pod in pods:
        if pod.spec.nodeName == peer.node.name and (address := pick(pod.ips, family)):
            yield address


def _share_link(lab: Lab, one: str, other: str, family: Family) -> bool:
    cidr = pick(lab.spec.underlay.cidr, family)
    return bool(cidr) and all(host(a) and network(host(a)).subnet_of(network(cidr)) for a in (one, other))  # type: ignore[arg-type]
