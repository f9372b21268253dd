"""Whose address is this? Looks addresses, networks and MACs up among the objects of a lab."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from k8snetlab.api import pools, topology
from k8snetlab.api.core import Node, Pod, Service
from k8snetlab.api.flannel import vtep_mac_of
from k8snetlab.api.machines import is_machine
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import FAMILIES, base, gateway, network, pick

EVERYWHERE = {
    "127.0.0.0/8": "loopback",
    "::1": "loopback",
    "224.0.0.0/4": "multicast",
    "ff00::/8": "multicast",
    "fe80::/64": "link-local",
}


class Directory(msgspec.Struct, frozen=True):
    """`known` says what an address or CIDR is, in words ("pod default/client on node2", "pods of node1"); `macs` whose
    a MAC is; `ports` which pod is behind a veth, by its name; `nodes` the name of the node with an underlay address."""

    known: dict[str, str]
    macs: dict[str, str]
    ports: dict[str, str]
    nodes: dict[str, str]

    @staticmethod
    def of(snapshot: Snapshot) -> Directory:
        known = EVERYWHERE | dict(_networks(snapshot)) | dict(_services(snapshot)) | dict(_pods(snapshot))
        macs = {names.pod_mac(ip): what for ip, what in _pods(snapshot)}
        calico = snapshot.lab.spec.network.calico
        ports = {
            (
                names.cali(pod.namespace, pod.name) if calico else names.veth(pod.namespace, pod.name, pod.run_uid)
            ): f"pod {pod.namespace}/{pod.name}"
            for pod in snapshot.all(Pod).values()
        }
        nodes: dict[str, str] = {}
        for node in snapshot.all(Node).values():
            known |= dict(_of_node(node))
            if not is_machine(node):
                macs |= {names.pod_mac(address): f"{node.name}'s eth0" for address in node.addresses[:1]}
            macs |= {names.felix_mac(node.name): f"{node.name}'s {names.VXLAN_CALICO}"} if calico else {}
            macs |= {names.pod_mac(gateway(subnet)): f"{node.name}'s cni0" for subnet in node.podCIDRs[:1]}
            macs |= {vtep_mac_of(node, family): f"{node.name}'s VTEP" for family in FAMILIES}
            nodes |= dict.fromkeys(node.addresses, node.name)
        return Directory(known, macs, ports, nodes)

    def what(self, address: str) -> str:
        """What an address or CIDR is; "" if unknown."""
        return self.known.get(address.removesuffix("/32").removesuffix("/128"), "")

    def named(self, address: str) -> str:
        """The address, and in brackets what it is."""
        what = self.what(address)
        return f"{address} ({what})" if what else address


def _networks(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    spec = snapshot.lab.spec
    for family in FAMILIES:
        for setting, what in ((spec.podCIDR, "the pod network"), (spec.serviceCIDR, "the Service network")):
            if cidr := pick(setting, family):
                yield str(network(cidr)), what
        if cidr := pick(spec.underlay.cidr, family):
            yield str(network(cidr)), "the nodes' network"
            if not spec.machines:
                yield pick(spec.underlay.router, family) or gateway(cidr), "the router"
        if (outside := pick(spec.underlay.outside, family)) and not spec.machines:
            yield str(network(outside)), "the world outside"
            yield outside.partition("/")[0], "the host outside"
    yield from _links(snapshot)
    for cidr in spec.loadBalancer.networks:
        yield cidr, "the load balancers' pool"
    for host in spec.hosts:
        yield from ((address, f"host {host.name} outside") for address in host.addresses)


def _links(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    for end in topology.ends(snapshot.lab):
        yield str(network(end.link.cidr)), f"link {end.link.name}"
        if end.is_router:
            yield end.address, "the router" if end.name == names.ROUTER else end.name


def _services(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    for service in snapshot.all(Service).values():
        what = f"Service {service.namespace}/{service.name}"
        ingress = [i.ip for i in service.status.loadBalancer.ingress if i.ip]
        for address in (*service.clusterIPs, *service.spec.externalIPs, *ingress):
            yield address, what


def _pods(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    for pod in snapshot.all(Pod).values():
        if pod.ips and not pod.spec.hostNetwork and not pod.ended:
            for ip in pod.ips:
                yield ip, f"pod {pod.namespace}/{pod.name} on {pod.spec.nodeName}"


def _of_node(node: Node) -> Iterator[tuple[str, str]]:
    for subnet in node.podCIDRs:
        yield str(network(subnet)), f"pods of {node.name}"
        yield base(subnet), f"{node.name}'s VTEP"
        yield gateway(subnet), f"{node.name}'s cni0"
    for block in () if node.podCIDRs else pools.blocks_of(node):
        yield str(network(block)), f"pods of {node.name}"
    for address, device in pools.tunnel_addresses(node).items():
        yield address, f"{node.name}'s {device}"
    for address in node.addresses:
        yield address, node.name
