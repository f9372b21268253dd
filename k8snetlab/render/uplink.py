"""A node's own part of its namespace: its hostname, its way to the other nodes, and what kubelet sets there."""

from __future__ import annotations

from collections.abc import Iterable

from k8snetlab.api import topology
from k8snetlab.api.core import Node
from k8snetlab.api.lab import Lab
from k8snetlab.api.machines import interface_of
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import FAMILIES, gateway, pick, with_length
from k8snetlab.dataplane.links import Address, Device
from k8snetlab.dataplane.names import ETH0
from k8snetlab.dataplane.netns import Netns, NodeDataplane
from k8snetlab.dataplane.routing import Route
from k8snetlab.errors import NotFoundError
from k8snetlab.render.pods import NO_DAD, NO_IPV6

UPLINK = ETH0


def render(snapshot: Snapshot, name: str) -> NodeDataplane:
    """A machine keeps its own devices, addresses and routes: none is desired, so none is touched."""
    lab, node = snapshot.lab, snapshot.node(name)
    machine = lab.spec.machines
    addresses, routes = [], []
    for family in FAMILIES:
        address, cidr = pick(node.addresses, family), pick(lab.spec.underlay.cidr, family)
        if address and cidr and not machine:
            link = topology.link_of(lab.spec.underlay, name)
            own = with_length(address, link.cidr if link else cidr)
            addresses.append(Address(UPLINK, own, broadcast=family == "ipv4"))
            router = pick(lab.spec.underlay.router, family) or gateway(cidr)
            router = topology.gateway_of(lab.spec.underlay, name) or router
            routes.append(Route("default", dev=UPLINK, via=router))
    return NodeDataplane(
        Netns(
            name=names.namespace_of(lab.name, name, machine),
            hostname=name,
            role="node",
            sysctls=_sysctls(ipv6=bool(pick(node.podCIDRs, "ipv6")), machine=machine)
            | forwarding(() if machine else (UPLINK,)),
            links=() if machine else (Device("lo"), Device(UPLINK, mtu=lab.spec.underlay.mtu, mac=_mac(node))),
            addresses=tuple(addresses),
            routes=tuple(routes),
            uid=node.metadata.uid,
        )
    )


def uplink(lab: Lab, node: Node) -> str:
    """The device by which a node reaches the others. Raises NotFoundError for a machine that does not say it."""
    if not lab.spec.machines:
        return UPLINK
    device = interface_of(node)
    if not device:
        raise NotFoundError(
            f"node {node.name} does not say by which interface the others reach it",
            "a machine becomes a node by `k8snetlab node join` on it",
        )
    return device


def forwarding(devices: Iterable[str]) -> dict[str, str]:
    """As the node's own ip_forward leaves it; but each device's can be changed alone."""
    return {f"net.ipv4.conf.{device.replace('.', '/')}.forwarding": "1" for device in devices}


def _mac(node: Node) -> str:
    """The address of a node's uplink, as the router makes it."""
    return names.pod_mac(node.addresses[0]) if node.addresses else ""


def _sysctls(ipv6: bool, machine: bool) -> dict[str, str]:
    """What a node needs to carry pods at all; on a machine that is more than this node, not more than it needs."""
    sysctls = {"net.ipv4.ip_forward": "1", "net.bridge.bridge-nf-call-iptables": "1"}
    if not machine:
        sysctls |= {"net.ipv4.conf.all.rp_filter": "0", "net.ipv4.conf.default.rp_filter": "0"}
    if not ipv6:
        return sysctls if machine else NO_IPV6 | sysctls
    sysctls |= {"net.ipv6.conf.all.forwarding": "1", "net.bridge.bridge-nf-call-ip6tables": "1"}
    return sysctls if machine else NO_DAD | sysctls
