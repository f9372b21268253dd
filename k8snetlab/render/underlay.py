"""The network the nodes stand in: a bridge with a router's address, and one host beyond the router.

The router stands for everything outside the cluster. It also carries the addresses that a cloud load balancer or a BGP
speaker would lead to the cluster: externalIPs and load balancer IPs are routed to a node.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8snetlab.api import topology
from k8snetlab.api.addressing import split
from k8snetlab.api.core import Node, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.lab import Lab
from k8snetlab.api.selection import balanced, slices_by_service
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import FAMILIES, family_of, gateway, host, pick, with_length
from k8snetlab.dataplane.links import Address, Bridge, Device, Veth
from k8snetlab.dataplane.names import ETH0
from k8snetlab.dataplane.netns import Netns, NodeDataplane
from k8snetlab.dataplane.operations import ItemOperation
from k8snetlab.dataplane.routing import Route
from k8snetlab.render import links
from k8snetlab.render import outside as outside_hosts
from k8snetlab.render.lb import haproxy
from k8snetlab.render.pods import DAD, NO_DAD, NO_IPV6

BY_CONNECTION = "net.{}.fib_multipath_hash_policy"
"""Of several ways as good, 1 has each connection take one by its addresses and ports, 0 all of a client the same."""


def render(snapshot: Snapshot) -> NodeDataplane:
    """The router's namespace, with those of the host outside and of the hosts of `spec.outside` as its "pods"."""
    lab, underlay = snapshot.lab, snapshot.lab.spec.underlay
    outside = split(underlay.outside)
    nodes = tuple(snapshot.all(Node).values())
    no_ipv6 = NO_IPV6 if not pick(underlay.cidr, "ipv6") else {}
    taken = outside_hosts.addresses(lab)
    listening = haproxy.addresses(snapshot)
    routers = topology.routers(underlay)
    external, *others = (
        tuple(r for r in _external_routes(snapshot, nodes, name) if r.dst.partition("/")[0] not in taken)
        for name in routers
    )
    pools = lab.spec.loadBalancer.networks
    led = (*external, *map(Route, pools))
    bridge_addresses = tuple(links.addresses(lab, names.ROUTER) if underlay.links else _addresses(lab))
    # Without an address of its own a bridge takes its lowest port's, and another one when that port goes: who knows it
    # by the old one reaches nothing for up to a minute. The CNI plugin bridge sets cni0's for this.
    own = Bridge(names.UNDERLAY_BRIDGE, mac=_mac(bridge_addresses), mtu=underlay.mtu)
    bridges = tuple(links.bridges(lab)) if underlay.links else (own,)
    router = Netns(
        name=names.node_netns(lab.name, names.ROUTER),
        hostname=names.ROUTER,
        role="router",
        sysctls=no_ipv6
        | {"net.ipv4.ip_forward": "1", "net.bridge.bridge-nf-call-iptables": "0"}
        | {f"net.ipv4.conf.{bridge.name}.arp_notify": "1" for bridge in bridges}
        | (links.SYSCTLS if underlay.links else {})
        | ({BY_CONNECTION.format("ipv4"): "1"} if pools else {})
        | ({BY_CONNECTION.format("ipv6"): "1"} if pools and not no_ipv6 else {})
        | ({} if no_ipv6 else {DAD.format("default"): "0", "net.ipv6.conf.all.forwarding": "1"})
        | ({} if no_ipv6 else {f"net.ipv6.conf.{bridge.name}.ndisc_notify": "1" for bridge in bridges}),
        links=(
            Device("lo"),
            *bridges,
            *links.cables(lab),
            *(_port(lab, node) for node in nodes),
            Veth(
                names.OUTSIDE,
                peer=ETH0,
                peer_netns=names.node_netns(lab.name, names.OUTSIDE),
                peer_mac=next((names.pod_mac(address.partition("/")[0]) for address in outside), ""),
                mtu=underlay.mtu,
            ),
            *outside_hosts.ports(lab),
        ),
        addresses=(
            *bridge_addresses,
            *(Address(names.UNDERLAY_BRIDGE, host(one)) for one in listening),
            *(Address(names.OUTSIDE, topology.gateway_beyond(a), family_of(a) == "ipv4") for a in outside),
            *outside_hosts.router_addresses(lab),
        ),
        routes=(*external, *outside_hosts.router_routes(lab), *links.routes(lab, names.ROUTER)),
        networks=(*split(lab.spec.podCIDR), *pools, *(split(underlay.cidr) if underlay.links else ())),
        learns=bool(pools) or links.is_found(lab),
    )
    beyond = Netns(
        name=names.node_netns(lab.name, names.OUTSIDE),
        hostname=names.OUTSIDE,
        role="outside",
        sysctls=no_ipv6 or NO_DAD,
        links=(Device("lo"), Device(ETH0, mtu=underlay.mtu)),
        addresses=tuple(Address(ETH0, a, family_of(a) == "ipv4") for a in outside),
        routes=tuple(_routes_beyond(lab, (*(r.dst for r in led), *map(host, listening)), outside)),
        networks=tuple(split(lab.spec.podCIDR)) if topology.is_beyond_told(lab.spec) else (),
        learns=topology.is_beyond_told(lab.spec),
    )
    return NodeDataplane(
        node=router, pods=(beyond, *links.namespaces(lab, others), *outside_hosts.namespaces(lab, led))
    )


def _addresses(lab: Lab) -> Iterator[Address]:
    """The router's, where there is one link."""
    underlay = lab.spec.underlay
    for family in FAMILIES:
        if cidr := pick(underlay.cidr, family):
            own = with_length(pick(underlay.router, family) or gateway(cidr), cidr)
            yield Address(names.UNDERLAY_BRIDGE, own, family == "ipv4")


def _mac(addresses: Iterable[Address]) -> str:
    """Of the bridge with these addresses: it has no neighbour with the same, as they would share an address too."""
    return next((names.pod_mac(one.address.partition("/")[0]) for one in addresses), "")


def plugging(snapshot: Snapshot, node: str) -> tuple[ItemOperation, ...]:
    """The router's end of a node's cable."""
    lab = snapshot.lab
    return (ItemOperation("add", names.node_netns(lab.name, names.ROUTER), _port(lab, snapshot.node(node))),)


def _port(lab: Lab, node: Node) -> Veth:
    link = topology.link_of(lab.spec.underlay, node.name)
    return Veth(
        names.underlay_veth(node.name),
        peer=ETH0,
        peer_netns=names.node_netns(lab.name, node.name),
        peer_mac=names.pod_mac(node.addresses[0]) if node.addresses else "",
        mtu=lab.spec.underlay.mtu,
        master=link.name if link else names.UNDERLAY_BRIDGE,
    )


def _routes_beyond(lab: Lab, external: tuple[str, ...], outside: list[str]) -> Iterator[Route]:
    """What a host outside knows of the cluster: the nodes' network and addresses announced by load balancers.

    Pods and Services are unknown to it, and it has no default route that would let it find out only by waiting.
    """
    for address in outside:
        family, router = family_of(address), topology.gateway_beyond(address).partition("/")[0]
        known = (*outside_hosts.ways_to(lab, address, family), *external)
        yield from (Route(dst, dev=ETH0, via=router) for dst in known if dst and family_of(dst) == family)


def published(service: Service) -> Iterable[bool]:
    """The group of the Services that are reached by addresses of no node."""
    ingress = service.status.loadBalancer.ingress
    return (True,) if service.spec.externalIPs or any(i.here for i in ingress) else ()


def _external_routes(snapshot: Snapshot, nodes: tuple[Node, ...], router: str) -> Iterator[Route]:
    seen = set()
    led = snapshot.lab.spec.loadBalancer.mode != "none"
    for service in snapshot.select(Service, published, True).values():
        announced = led and bool(balanced(service))  # a node says by ARP or NDP that it is there, or haproxy listens
        vips = [] if announced else [i.ip for i in service.status.loadBalancer.ingress if i.here]
        for ip in (*(service.spec.externalIPs if snapshot.proxy.external_ips else ()), *vips):
            node = _entry_node(snapshot, service, nodes)
            via = pick(node.addresses, family_of(ip)) if node else ""
            if node and via and ip not in seen:
                seen.add(ip)
                yield from links.way_to(snapshot.lab, router, host(ip), node.name, via)


def _entry_node(snapshot: Snapshot, service: Service, nodes: tuple[Node, ...]) -> Node | None:
    """Where a load balancer sends: with externalTrafficPolicy Local, to a node that has an endpoint."""
    if service.spec.externalTrafficPolicy == "Local":
        local = {
            endpoint.nodeName
            for slice_ in snapshot.select(EndpointSlice, slices_by_service, service.key).values()
            for endpoint in slice_.endpoints
            if endpoint.conditions.ready is not False
        }
        nodes = tuple(node for node in nodes if node.name in local) or nodes
    return nodes[0] if nodes else None
