"""The inputs of one kube-proxy besides Services: its configuration, its node, its lab."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Literal

import msgspec

from k8snetlab.api.core import Node
from k8snetlab.api.kubeproxy import KubeProxyConfiguration
from k8snetlab.api.lab import Lab
from k8snetlab.api.pools import tunnel_addresses
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import base, family_of, gateway, host, network, pick
from k8snetlab.dataplane.names import MASQUERADE_MARK
from k8snetlab.dataplane.rules import Family, quote
from k8snetlab.errors import InputError

ZONE = "topology.kubernetes.io/zone"
LOOPBACK: dict[Family, str] = {"ipv4": "127.0.0.1", "ipv6": "::1"}

INVALID_DROPPED, LOCALHOST_ACCEPTED = COUNTERS = ("ct_state_invalid_dropped_pkts", "localhost_nps_accepted_pkts")
"""kube-proxy's nfacct counters, the source of its metrics."""


class Settings(msgspec.Struct, frozen=True):
    """One kube-proxy on one node, for one IP family.

    `from_pod` is the iptables match for traffic from a pod of this cluster ("-s 10.244.0.0/16", "-i cni0"), "" where
    nothing tells it. `node_port_addresses` are the node's addresses that NodePorts listen on, None for all.
    `counters` tells whether the kernel has kube-proxy's nfacct counters.
    """

    family: Family
    node: str
    zone: str
    node_ip: str
    from_pod: str
    masquerade_all: bool
    mark: str
    node_port_addresses: tuple[str, ...] | None
    localhost_node_ports: bool
    tcp_be_liberal: bool
    external_ips: bool
    counters: bool
    layout: Literal["current", "classic"]

    @staticmethod
    def of(snapshot: Snapshot, node_name: str, family: Family, counters: bool = False) -> Settings:
        """The settings on a node, which need not exist yet; raises InputError where the configuration makes no sense.

        Source: kube-proxy cmd/kube-proxy/app and pkg/proxy/iptables, NewBackend.
        """
        try:
            return _settings(snapshot, node_name, family, counters)
        except ValueError as error:
            hint = "look at bindAddress, clusterCIDR and nodePortAddresses"
            raise InputError(f"KubeProxyConfiguration: {error}", hint) from None

    @property
    def anywhere(self) -> Settings:
        """These settings without what tells this node from another that is configured alike."""
        return msgspec.structs.replace(self, node="", zone="", node_ip="", node_port_addresses=None)


def _settings(snapshot: Snapshot, node_name: str, family: Family, counters: bool) -> Settings:
    config = snapshot.proxy
    bit = config.iptables.masqueradeBit
    node = snapshot.get(Node, node_name) or Node()
    node_ip = _node_ip(config, node, family)
    selected = _node_port_cidrs(config, node_ip, family)
    return Settings(
        family=family,
        node=node_name,
        zone=node.metadata.labels.get(ZONE, ""),
        node_ip=node_ip,
        from_pod=_from_pod(snapshot, node, family),
        masquerade_all=config.iptables.masqueradeAll,
        mark=f"0x{MASQUERADE_MARK if bit is None else 1 << bit:08x}",
        node_port_addresses=_selected_addresses(selected, node, family),
        localhost_node_ports=(
            family == "ipv4"
            and config.iptables.localhostNodePorts is not False
            and any(_reaches_loopback(cidr) for cidr in selected)
        ),
        tcp_be_liberal=config.conntrack.tcpBeLiberal,
        external_ips=config.external_ips,
        counters=counters,
        layout=snapshot.lab.spec.proxy.layout,
    )


def _node_ip(config: KubeProxyConfiguration, node: Node, family: Family) -> str:
    if config.bindAddress and not ip_address(config.bindAddress).is_unspecified:
        bound = pick(config.bindAddress, family)
        if bound:
            return bound
    external = [a.address for a in node.status.addresses if a.type == "ExternalIP"]
    return pick((*node.addresses, *external), family) or LOOPBACK[family]


def _from_pod(snapshot: Snapshot, node: Node, family: Family) -> str:
    config = snapshot.proxy
    match config.detectLocalMode or "ClusterCIDR":
        case "NodeCIDR":
            cidr = pick(node.podCIDRs, family)
        case "BridgeInterface":
            return f"-i {quote(_named(config.detectLocal.bridgeInterface, 'bridgeInterface'))}"
        case "InterfaceNamePrefix":
            return f"-i {quote(_named(config.detectLocal.interfaceNamePrefix, 'interfaceNamePrefix') + '+')}"
        case _:
            # Only where a person wrote a configuration and no lab is the lab's default pod network not meant.
            bare = snapshot.all(KubeProxyConfiguration) and not snapshot.all(Lab)
            cidr = pick(config.clusterCIDR or ("" if bare else snapshot.lab.spec.podCIDR), family)
    return f"-s {network(cidr)}" if cidr else ""


def _named(interface: str, field: str) -> str:
    if not interface:
        hint = "name the interface, or choose another detectLocalMode"
        raise InputError(f"KubeProxyConfiguration: detectLocal.{field} is empty", hint)
    return interface


def _node_port_cidrs(config: KubeProxyConfiguration, node_ip: str, family: Family) -> list[str]:
    """`nodePortAddresses` of this family; empty or a zero CIDR among them means every address."""
    everything = "0.0.0.0/0" if family == "ipv4" else "::/0"
    wanted = config.nodePortAddresses
    if wanted == ("primary",):
        wanted = () if ip_address(node_ip).is_loopback else (host(node_ip),)
    cidrs = [cidr.strip() for cidr in wanted if family_of(cidr) == family]
    return cidrs if cidrs and not any(cidr.endswith("/0") for cidr in cidrs) else [everything]


def _reaches_loopback(cidr: str) -> bool:
    net = ip_network(cidr, strict=False)
    return net.is_loopback or ip_address("127.0.0.0") in net


def _selected_addresses(cidrs: Iterable[str], node: Node, family: Family) -> tuple[str, ...] | None:
    """Those of the node's own addresses that lie in `cidrs`: its loopback, its node addresses, cni0's and flannel's."""
    nets = [ip_network(cidr, strict=False) for cidr in cidrs]
    if any(net.prefixlen == 0 for net in nets):
        return None
    own = [LOOPBACK[family], *(a for a in node.addresses if family_of(a) == family)]
    for subnet in node.podCIDRs:
        if family_of(subnet) == family:
            own += [gateway(subnet), base(subnet)]
    own += [address for address in tunnel_addresses(node) if family_of(address) == family]
    return tuple(dict.fromkeys(address for net in nets for address in own if ip_address(address) in net))
