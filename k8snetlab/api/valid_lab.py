"""What can be wrong with a Lab and a Node."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_interface

from k8snetlab.api import (
    addressing,
    pools,
    topology,
    valid_bgp,
    valid_calico,
    valid_dns,
    valid_links,
    valid_load_balancer,
    valid_outside,
)
from k8snetlab.api.addressing import Address, IPNetwork, split
from k8snetlab.api.bgp import LAST_AS
from k8snetlab.api.core import NODE_PORTS, Node
from k8snetlab.api.defaults import VXLAN_OVERHEAD, expanded_nodes
from k8snetlab.api.lab import ROUTED, GatewaySettings, IngressSettings, Lab, LabNode, Routing
from k8snetlab.api.meta import Object
from k8snetlab.api.plane import seats
from k8snetlab.api.problems import Report, dns_label, labels, node_name, place
from k8snetlab.api.selection import nodes_by_address
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import Path, shorten


def lab(report: Report, lab: Lab) -> None:
    """Everything a Lab file can get wrong; `lab` has its defaults."""
    if problem := dns_label(lab.name):
        report.error(lab, ("metadata", "name"), problem)
    spec = lab.spec
    underlay = _networks(report, lab, ("spec", "underlay", "cidr"), spec.underlay.cidr)
    pods = _networks(report, lab, ("spec", "podCIDR"), spec.podCIDR)
    services = _networks(report, lab, ("spec", "serviceCIDR"), spec.serviceCIDR)
    _outside(report, lab, underlay, pods, services)
    valid_links.links(report, lab, underlay)
    for path, mine, others in (
        (("spec", "serviceCIDR"), services, ((pods, "spec.podCIDR"), (underlay, "spec.underlay.cidr"))),
        (("spec", "podCIDR"), pods, ((underlay, "spec.underlay.cidr"),)),
    ):
        for network in mine:
            for other, name in ((o, name) for networks, name in others for o in networks if o.overlaps(network)):
                report.error(lab, path, f"{network} overlaps {name} {other}; choose a range of its own")
    for network in services:
        if network.prefixlen < (12 if network.version == 4 else 108):
            report.error(lab, ("spec", "serviceCIDR"), f"{network} is too large; at most a /12 (IPv6: a /108)")
        if network.num_addresses < 8:
            report.error(lab, ("spec", "serviceCIDR"), f"{network} is too small; at least a /29 (IPv6: a /125)")
    for network in (*pods, *services):
        if underlay and pods and not _of_family(underlay if network in pods else pods, network):
            missing = "spec.underlay.cidr" if network in pods else "spec.podCIDR"
            report.error(lab, ("spec",), f"{network} needs an IPv{network.version} range in {missing} too")
    _nodes(report, lab, underlay, pods)
    valid_outside.outside(report, lab, underlay, {"spec.podCIDR": pods, "spec.serviceCIDR": services})
    _mtu(report, lab, underlay)
    _backend(report, lab)
    valid_calico.calico(report, lab)
    valid_bgp.bgp(report, lab)
    _policies(report, lab)
    _store(report, lab)
    _control_plane(report, lab)
    _api(report, lab)
    _images(report, lab)
    valid_dns.dns(report, lab, services)
    valid_load_balancer.load_balancer(report, lab, underlay, (*pods, *services))
    _ingress(report, lab, services)
    _gateway(report, lab)


def next_hops(report: Report, lab: Lab, others: Iterable[Node]) -> None:
    """Nodes that this lab's backend could not route to, although nothing is wrong with them otherwise."""
    for other in others:
        for address in _off_link(lab, other):
            report.error(lab, ("spec", "network", "backend"), _unreachable(lab, other, address))


def node(report: Report, node: Node, world: Snapshot) -> None:
    for number, entry in enumerate(node.status.addresses):
        if entry.type != "InternalIP":
            continue
        path: Path = ("status", "addresses", number, "address")
        try:
            addressing.address(entry.address)
        except ValueError as error:
            report.error(node, path, str(error))
        for other in world.select(Node, nodes_by_address, entry.address).values():
            if report.earlier(other, node):
                report.error(node, path, f"{entry.address} is the address of {place(other)} too; give each its own")
    for number, cidr in enumerate(node.podCIDRs):
        path = ("spec", "podCIDRs", number) if node.spec.podCIDRs else ("spec", "podCIDR")
        _networks(report, node, path, cidr)
    if node.spec.podCIDR and node.spec.podCIDRs and node.spec.podCIDRs[0] != node.spec.podCIDR:
        report.error(node, ("spec", "podCIDR"), f"must be the first of spec.podCIDRs, {node.spec.podCIDRs[0]}")
    for address in _off_link(world.lab, node):
        report.error(node, ("status", "addresses"), _unreachable(world.lab, node, address))


def _networks(report: Report, obj: Object, path: Path, text: str, required: bool = True) -> list[IPNetwork]:
    """The networks of a field, at most one per family; none where anything is wrong with it."""
    try:
        networks = addressing.parse_networks(text)
    except ValueError as error:
        report.error(obj, path, str(error))
        return []
    if len({n.version for n in networks}) < len(networks) or (required and not networks):
        report.error(obj, path, "takes one network, or one IPv4 and one IPv6 network separated by a comma")
        return []
    for network in networks:
        if network.is_loopback or network.is_multicast or network.is_link_local:
            report.error(obj, path, f"{network} is reserved (loopback, link-local or multicast)")
    return networks


def _of_family(networks: Sequence[IPNetwork], like: IPNetwork | Address) -> IPNetwork | None:
    return next((n for n in networks if n.version == like.version), None)


# --- nodes ----------------------------------------------------------------------------------------------------------


def _nodes(report: Report, lab: Lab, underlay: list[IPNetwork], pods: list[IPNetwork]) -> None:
    nodes = expanded_nodes(lab.spec)
    if not nodes and not lab.spec.machines:
        report.error(lab, ("spec", "nodes"), "a lab needs at least one node")
    routers = _addresses(report, lab, ("spec", "underlay", "router"), lab.spec.underlay.router, underlay)
    holders: dict[Address, str] = dict.fromkeys(routers, "the router")
    names: set[str] = set()
    subnets: list[tuple[IPNetwork, str]] = []
    for number, entry in enumerate(nodes):
        path: Path = ("spec", "nodes", number)
        if problem := node_name(entry.name):
            report.error(lab, (*path, "name"), problem)
        if entry.name in names:
            report.error(lab, (*path, "name"), f'"{entry.name}" names another node already')
        names.add(entry.name)
        labels(report, lab, (*path, "labels"), entry.labels)
        lacking = not entry.address and underlay and not lab.spec.machines  # machines bring theirs along
        lacking = lacking and not lab.spec.underlay.links  # which say it of theirs
        if lacking and not any(node.address == "" for node in nodes[:number]):
            message = f"no address is left for {entry.name} (node {number + 1} of {len(nodes)}); use a wider range"
            report.error(lab, ("spec", "underlay", "cidr"), message)
        for address in _addresses(report, lab, (*path, "address"), entry.address, underlay):
            if address in holders:
                message = f"{address} is the address of {holders[address]} already; give each its own"
                report.error(lab, (*path, "address"), message)
            holders[address] = entry.name
        _subnet(report, lab, number, entry, pods=pods, subnets=subnets)
    for cidr in () if lab.spec.network.calico else pods:
        _room(report, lab, cidr, nodes)
    _ranges(report, lab, pods)


def _addresses(report: Report, lab: Lab, path: Path, text: str, underlay: list[IPNetwork]) -> list[Address]:
    """The addresses of a field, one for each family of the underlay."""
    try:
        addresses = [addressing.address(part) for part in split(text)]
    except ValueError as error:
        report.error(lab, path, str(error))
        return []
    for address in addresses:
        network = _of_family(underlay, address)
        if underlay and not lab.spec.machines and (network is None or address not in network):
            ranges = ",".join(map(str, underlay))
            report.error(lab, path, f"{address} is not in spec.underlay.cidr {ranges}")
        elif network and address in (network.network_address, network.broadcast_address):
            report.error(lab, path, f"{address} is the network or broadcast address of {network}")
    families = sorted(a.version for a in addresses)
    if underlay and addresses and families != sorted(n.version for n in underlay):
        wanted = " and one ".join(f"IPv{n.version}" for n in underlay)
        report.error(lab, path, f"takes one {wanted} address, as spec.underlay.cidr has them")
    return addresses


def _subnet(
    report: Report,
    lab: Lab,
    number: int,
    entry: LabNode,
    *,
    pods: list[IPNetwork],
    subnets: list[tuple[IPNetwork, str]],
) -> None:
    """`subnets`: those of the nodes before, each with its node's name; this one's come to them."""
    path: Path = ("spec", "nodes", number, "podCIDR")
    for subnet in _networks(report, lab, path, entry.podCIDR, required=False):
        whole = _of_family(pods, subnet)
        if pods and (whole is None or not subnet.subnet_of(whole)):  # type: ignore[arg-type]
            report.error(lab, path, f"{subnet} is not inside spec.podCIDR {','.join(map(str, pods))}")
        if subnet.max_prefixlen - subnet.prefixlen < 2:
            report.error(lab, path, f"{subnet} has no room for pods; use at least a /{subnet.max_prefixlen - 2}")
        for other, name in subnets:
            if other.overlaps(subnet):
                report.error(lab, path, f"{subnet} overlaps {other} of {name}; give each node a subnet of its own")
        subnets.append((subnet, entry.name))


def _room(report: Report, lab: Lab, cidr: IPNetwork, nodes: tuple[LabNode, ...]) -> None:
    """Whether the pod network can be divided as the lab asks, among all nodes without a subnet of their own."""
    network, prefix = lab.spec.network, "subnet" if cidr.version == 4 else "ipv6Subnet"
    length: int | None = getattr(network, f"{prefix}Len")
    first, last = str(getattr(network, f"{prefix}Min")), str(getattr(network, f"{prefix}Max"))
    for field, arguments in (("Len", (length,)), ("Min", (length, first)), ("Max", (length, first, last))):
        try:
            subnets = addressing.subnet_range(cidr, *arguments)
        except ValueError as error:
            path = ("spec", "podCIDR") if arguments == (None,) else ("spec", "network", f"{prefix}{field}")
            report.error(lab, path, str(error))
            return
    count = sum(not any((":" in part) == (cidr.version == 6) for part in split(node.podCIDR)) for node in nodes)
    if subnets.room < count:
        why = "" if first else ", the first is skipped"
        message = f"{cidr} has subnets (/{subnets.length}{why}) for {subnets.room} nodes, but there are {count}"
        report.error(lab, ("spec", "podCIDR"), message)


def _ranges(report: Report, lab: Lab, pods: list[IPNetwork]) -> None:
    """Settings for a family that the pod network does not have."""
    for prefix, version in (("subnet", 4), ("ipv6Subnet", 6)):
        for field in ("Len", "Min", "Max"):
            if getattr(lab.spec.network, f"{prefix}{field}") and pods and not any(n.version == version for n in pods):
                message = f"means nothing here: spec.podCIDR has no IPv{version} network"
                report.error(lab, ("spec", "network", f"{prefix}{field}"), message)


# --- underlay, overlay, store ---------------------------------------------------------------------------------------


def _outside(
    report: Report, lab: Lab, underlay: list[IPNetwork], pods: list[IPNetwork], services: list[IPNetwork]
) -> None:
    path: Path = ("spec", "underlay", "outside")
    for text in split(lab.spec.underlay.outside):
        try:
            if "/" not in text:
                raise ValueError(f"{text!r} has no prefix length; write it like 203.0.113.10/24")
            addressing.address(text.partition("/")[0])
            interface = ip_interface(text)
        except ValueError as error:
            report.error(lab, path, str(error))
            continue
        if interface.network.num_addresses == 1:
            report.error(lab, path, f"{text} leaves no address for the router beside it; write it like 203.0.113.10/24")
        for network in (*underlay, *pods, *services):
            if network.overlaps(interface.network):
                report.error(lab, path, f"{interface.network} overlaps {network}; the outside is another network")


def _mtu(report: Report, lab: Lab, underlay: list[IPNetwork]) -> None:
    spec = lab.spec
    if spec.network.mtu is None or not underlay:
        return
    overhead = VXLAN_OVERHEAD[max(n.version for n in underlay)] if spec.network.backend == "vxlan" else 0
    overhead = overhead or pools.overhead(pools.pools(lab))
    most = spec.underlay.mtu - overhead
    if spec.network.mtu > most:
        why = f" less the {overhead} bytes of VXLAN" if overhead else ""
        message = f"{spec.network.mtu} is more than spec.underlay.mtu {spec.underlay.mtu}{why} carries; at most {most}"
        report.error(lab, ("spec", "network", "mtu"), message)


def _policies(report: Report, lab: Lab) -> None:
    policies = lab.spec.networkPolicy
    if policies.cutEstablished and policies.controller == "none":
        report.warn(lab, ("spec", "networkPolicy", "cutEstablished"), "means nothing with controller none")


def _ingress(report: Report, lab: Lab, services: list[IPNetwork]) -> None:
    spec, path = lab.spec.ingress, ("spec", "ingress")
    for field in ("http", "https"):
        port = getattr(spec.nodePorts, field)
        if port and port not in NODE_PORTS:
            message = f"{port} is not in the valid range; use {NODE_PORTS[0]} to {NODE_PORTS[-1]}"
            report.error(lab, (*path, "nodePorts", field), message)
    if spec.nodePorts.http and spec.nodePorts.http == spec.nodePorts.https:
        report.error(lab, (*path, "nodePorts", "https"), f"{spec.nodePorts.http} is the port of http already")
    if spec.address:
        try:
            address = ip_address(spec.address)
            inside = not services or any(address in network for network in services)
        except ValueError:
            report.error(lab, (*path, "address"), f"{shorten(spec.address)!r} is no address; write it like 10.96.0.80")
        else:
            if not inside:
                report.error(lab, (*path, "address"), f"{address} is not in spec.serviceCIDR {lab.spec.serviceCIDR}")
    namespace, slash, name = spec.defaultCertificate.partition("/")
    if spec.defaultCertificate and not (slash and namespace and name and "/" not in name):
        message = f"{shorten(spec.defaultCertificate)!r} names no Secret; write it like default/shop-tls"
        report.error(lab, (*path, "defaultCertificate"), message)
    if spec == IngressSettings(controller=spec.controller) or spec.controller != "none":
        return
    report.warn(lab, path, "means nothing without `controller: nginx`")


def _gateway(report: Report, lab: Lab) -> None:
    spec, path = lab.spec.gateway, ("spec", "gateway")
    if spec.controller == "none" and spec != GatewaySettings():
        report.warn(lab, path, "means nothing without `controller: nginx`")
    if spec.controller == "nginx" and spec.serviceType == "LoadBalancer" and lab.spec.loadBalancer.mode == "none":
        report.warn(lab, (*path, "serviceType"), "LoadBalancer gives no address without `loadBalancer.mode`")


def _backend(report: Report, lab: Lab) -> None:
    network = lab.spec.network
    _password(report, lab)
    if network.calico and network.routing.outside:
        words = "is not for calico, whose sessions are between nodes; bgp, ospf and rip take it"
        report.error(lab, ("spec", "network", "routing", "outside"), words)
    if network.calico and network.routing.bfd:
        words = "is not in what Calico's confd writes for BIRD; backends bgp, ospf and rip take it"
        report.error(lab, ("spec", "network", "routing", "bfd"), words)
    if network.routed:
        if not network.calico:
            _routing(report, lab)
    elif network.routing != Routing() and not lab.spec.daemon:
        where = "calico with vxlanMode in all pools" if network.calico else f"backend {network.backend}"
        words = f"means nothing with {where}; {', '.join(ROUTED)} have daemons"
        report.warn(lab, ("spec", "network", "routing"), words)
    if network.backend == "vxlan":
        return
    for field, value, default in (
        ("directRouting", network.directRouting, False),
        ("resolve", network.resolve, "proactive"),
        ("routes", network.routes, "per-node"),
    ):
        if value != default:
            report.warn(lab, ("spec", "network", field), f"means nothing with backend {network.backend}; vxlan has it")


def _routing(report: Report, lab: Lab) -> None:
    spec, path = lab.spec, ("spec", "network", "routing", "daemon")
    if spec.machines:
        where = ("spec", "network", "backend")
        report.error(lab, where, f"{spec.network.backend} is for labs of namespaces; machines take vxlan or host-gw")
    if spec.daemon == "frr" and spec.network.backend == "bgp":
        report.error(lab, path, "frr would end all sessions for each node that comes or goes; BGP is spoken by bird")
    if spec.daemon == "frr" and ":" in spec.podCIDR:
        report.error(lab, path, "frr is configured for IPv4 only; bird speaks both families")
    own = spec.network.routing.asNumber + 1 + len(topology.routers(spec.underlay))
    if spec.network.backend == "bgp" and spec.network.routing.outside and own > LAST_AS:
        number = ("spec", "network", "routing", "asNumber")
        report.error(lab, number, f"leaves no number for outside, whose would be {own}; the largest is {LAST_AS}")
    if spec.network.routing.outside and ":" in spec.podCIDR + spec.underlay.outside:
        outside = ("spec", "network", "routing", "outside")
        report.error(lab, outside, "is of IPv4 alone: spec.podCIDR and spec.underlay.outside are to have no IPv6")
    if spec.network.routing.bfd and spec.daemon == "frr" and spec.network.backend == "rip":
        bfd = ("spec", "network", "routing", "bfd")
        report.error(lab, bfd, "frr's RIP does not know of BFD; routing.daemon: bird does, or backend ospf or bgp")


def _password(report: Report, lab: Lab) -> None:
    """What FRR and BIRD take by all protocols, in whose files it stands."""
    network, path = lab.spec.network, ("spec", "network", "routing", "password")
    if not network.routing.password:
        return
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,16}", network.routing.password):
        report.error(lab, path, "is to have 1 to 16 of the letters A to Z, a to z, 0 to 9, '.', '_' and '-'")
    if network.calico:
        report.error(lab, path, "is not for calico, whose sessions have none here; bgp, ospf and rip take one")
    if ":" in lab.spec.podCIDR and network.backend in ("ospf", "rip"):
        report.error(lab, path, f"{network.backend} signs by MD5 in IPv4 alone; spec.podCIDR has an IPv6 network")


def _off_link(lab: Lab, node: Node) -> list[str]:
    """The node's addresses that no route can have as next hop, because they are not on the nodes' own link."""
    try:
        link = addressing.parse_networks(lab.spec.underlay.cidr)
        addresses = [(text, addressing.address(text)) for text in node.addresses]
    except ValueError:
        return []  # reported as what it is
    network = lab.spec.network
    if network.backend == "vxlan" or (network.calico and not network.routed):
        return []
    return [text for text, address in addresses if not any(address in n for n in link if n.version == address.version)]


def _unreachable(lab: Lab, node: Node, address: str) -> str:
    where = f"the nodes' link {lab.spec.underlay.cidr}"
    return (
        f"{lab.spec.network.backend} needs every node on one link, and next hop {address} ({place(node)}) is not on"
        f" {where};"
        " use backend vxlan, with directRouting for those that share the link"
    )


def _store(report: Report, lab: Lab) -> None:
    store = lab.spec.store
    if store.type == "embedded":
        return
    if not store.endpoints:
        report.error(lab, ("spec", "store", "endpoints"), "etcd needs endpoints, like [http://192.168.0.10:2379]")
    for number, url in enumerate(store.endpoints):
        if not url.startswith(("http://", "https://")) or len(url.split("://")[1]) < 1:
            message = f"{url!r} is no URL; write it like https://192.168.0.10:2379"
            report.error(lab, ("spec", "store", "endpoints", number), message)
    if store.open and not store.insecure:
        report.error(
            lab,
            ("spec", "store", "endpoints"),
            "plain http lets anybody who reaches the store write to the lab, and a Pod's command runs as root; "
            "use https with ca, cert and key, or say `insecure: true`",
        )
    if bool(store.cert) != bool(store.key):
        report.error(lab, ("spec", "store"), "cert and key belong together; give both or neither")


def _images(report: Report, lab: Lab) -> None:
    for name, path in lab.spec.images.items():
        if not path.startswith("/") or "\0" in path:
            message = f'"{shorten(path)}" is no absolute path of a root directory or an OCI layout'
            report.error(lab, ("spec", "images", name), message)


def _control_plane(report: Report, lab: Lab) -> None:
    plane, path = lab.spec.controlPlane, ("spec", "controlPlane")
    if not (plane.replicas or plane.etcd):
        return
    if not (plane.replicas and plane.etcd):
        lacks, wanted = ("etcd", "1, 3 or 5") if plane.replicas else ("replicas", "1 to 5")
        report.error(lab, (*path, lacks), f"API servers share an etcd: replicas and etcd go together; say {wanted}")
    if plane.etcd in (2, 4):
        message = f"{plane.etcd} members survive no more losses than {plane.etcd - 1} do; say 1, 3 or 5"
        report.error(lab, (*path, "etcd"), message)
    if lab.spec.machines:
        report.error(lab, path, "is of labs whose nodes are namespaces; here every machine's daemon serves the API")
    if lab.spec.store.type != "embedded":
        report.error(lab, ("spec", "store"), "the etcd of spec.controlPlane is the lab's store; leave spec.store out")
    if any(not seat.address for seat in seats(lab)):
        report.error(lab, path, "its members are reached by IPv4, of which spec.underlay.cidr has none for them")


def _api(report: Report, lab: Lab) -> None:
    listen, path = lab.spec.api.listen, ("spec", "api", "listen")
    if not listen:
        return
    host, colon, port = listen.rpartition(":")
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]")) if colon else None
    except ValueError:
        address = None
    right = address and port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536
    if not right or (":" in host) != host.startswith("["):
        report.error(lab, path, f"{shorten(listen)!r} is no address and port; write it like 127.0.0.1:6443")
    elif address and not address.is_loopback:
        given = "as far as its roles allow it" if lab.spec.api.rbac else "for everything, unless rbac is true"
        report.warn(
            lab,
            path,
            "whoever reaches this address may try to get in: admin's kubeconfig is root on this machine, and a "
            f"ServiceAccount's token is good {given}",
        )
