"""The hosts of `spec.outside`: beside the nodes on the router's bridge, or each by a cable of its own beyond it.

One beyond has its address alone, as a point-to-point link has; the router's address is its next hop. None has a default
route: pods and cluster IPs are unknown outside, and a host without a way there says so at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8snetlab.api.addressing import split
from k8snetlab.api.lab import Lab
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import family_of, gateway, host, network, pick, with_length
from k8snetlab.dataplane.links import Address, Device, Veth
from k8snetlab.dataplane.names import ETH0
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.routing import Route
from k8snetlab.dataplane.rules import Family
from k8snetlab.render.pods import NO_DAD, NO_IPV6


def addresses(lab: Lab) -> frozenset[str]:
    """Those of all hosts."""
    return frozenset(address for one in lab.spec.hosts for address in one.addresses)


def ports(lab: Lab) -> Iterator[Veth]:
    """The router's ends of the hosts' cables."""
    for one in lab.spec.hosts:
        beside = one.is_beside(lab.spec.underlay)
        yield Veth(
            names.underlay_veth(one.name),
            peer=ETH0,
            peer_netns=names.node_netns(lab.name, one.name),
            peer_mac=names.pod_mac(one.addresses[0]) if one.addresses else "",
            mtu=lab.spec.underlay.mtu,
            master=names.UNDERLAY_BRIDGE if beside else "",
        )


def router_addresses(lab: Lab) -> Iterator[Address]:
    """The router's address once more, on the cables to hosts beyond: by IPv6 it answers for those of the device only,
    and by IPv4 what it sends there has it as source."""
    for one in lab.spec.hosts:
        for address in () if one.is_beside(lab.spec.underlay) else one.addresses:
            yield Address(names.underlay_veth(one.name), host(_router(lab, address)))


def router_routes(lab: Lab) -> Iterator[Route]:
    """The router's ways to hosts beyond."""
    for one in lab.spec.hosts:
        for address in () if one.is_beside(lab.spec.underlay) else one.addresses:
            yield Route(host(address), dev=names.underlay_veth(one.name))


def ways_to(lab: Lab, own: str, family: Family) -> Iterator[str]:
    """Where a host with address `own` finds others by the router: the nodes' network, that of the host outside, and
    hosts beyond."""
    spec = lab.spec
    if cidr := pick(spec.underlay.cidr, family):
        yield cidr
    beyond = (one for one in spec.hosts if not one.is_beside(spec.underlay))
    yield from (host(address) for one in beyond for address in one.addresses if address != own)


def namespaces(lab: Lab, external: Iterable[Route]) -> Iterator[Netns]:
    """The hosts' own. `external`: the router's routes to addresses that are announced from the cluster."""
    announced = [route.dst for route in external]
    for one in lab.spec.hosts:
        beside = one.is_beside(lab.spec.underlay)
        yield Netns(
            name=names.node_netns(lab.name, one.name),
            hostname=one.name,
            role="outside",
            sysctls=NO_DAD if pick(lab.spec.underlay.cidr, "ipv6") else NO_IPV6,
            links=(Device("lo"), Device(ETH0, mtu=lab.spec.underlay.mtu)),
            addresses=tuple(_own(lab, address, beside) for address in one.addresses),
            routes=tuple(dict.fromkeys(r for a in one.addresses for r in _routes(lab, a, beside, announced))),
        )


def _own(lab: Lab, address: str, beside: bool) -> Address:
    if not beside:
        return Address(ETH0, host(address))
    family = family_of(address)
    return Address(ETH0, with_length(address, pick(lab.spec.underlay.cidr, family)), family == "ipv4")


def _routes(lab: Lab, address: str, beside: bool, announced: Iterable[str]) -> Iterator[Route]:
    family, router = family_of(address), _router(lab, address)
    if not beside:
        yield Route(host(router), dev=ETH0)
    outside = [str(network(text)) for text in split(lab.spec.underlay.outside)]
    known = (*ways_to(lab, address, family), *outside, *announced)
    connected = pick(lab.spec.underlay.cidr, family) if beside else ""
    yield from (Route(d, dev=ETH0, via=router) for d in known if family_of(d) == family and d != connected)


def _router(lab: Lab, address: str) -> str:
    """The router's address of that family."""
    family = family_of(address)
    underlay = lab.spec.underlay
    return pick(underlay.router, family) or gateway(pick(underlay.cidr, family))
