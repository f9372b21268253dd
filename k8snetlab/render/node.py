"""From a snapshot to all that one node's agent makes."""

from __future__ import annotations

from collections.abc import Iterable

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.kubeproxy import KubeProxyConfiguration
from k8snetlab.api.lab import Lab
from k8snetlab.api.machines import interface_of
from k8snetlab.api.selection import pods_by_node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import FAMILIES, gateway, pick, with_length
from k8snetlab.dataplane.links import Address, Bridge, Device, Veth
from k8snetlab.dataplane.netns import Netns, NodeDataplane
from k8snetlab.dataplane.routing import Route
from k8snetlab.dataplane.rules import RuleSet
from k8snetlab.errors import NotFoundError
from k8snetlab.render import hostports, masquerade, overlay, pods
from k8snetlab.render.overlay import Overlay
from k8snetlab.render.pods import Sandboxes

UPLINK = "eth0"


def render(snapshot: Snapshot, name: str, sandboxes: Sandboxes | None = None) -> NodeDataplane:
    """The namespace of node `name` with flannel's devices and rules, and the sandboxes of its pods.

    kube-proxy's rules are not part of it: they come from `render.proxy`, as on a real node from another program.
    `sandboxes`, if given, remember those of the last time: 500 pods then cost 0.3 ms instead of 10.
    """
    node = snapshot.node(name)
    lab = snapshot.lab
    mine = [pod for pod in pods_of(snapshot, name) if not pod.spec.hostNetwork]
    inner, veths = (sandboxes or Sandboxes()).of(lab, node, mine)
    return NodeDataplane(
        node=_namespace(
            lab,
            snapshot.proxy,
            node,
            veths=veths,
            tunnel=_overlay(snapshot, node),
            localnet=_localnet(node, mine),
        ),
        rules=tuple(_rules(lab, node, mine)),
        pods=inner,
    )


def pods_of(snapshot: Snapshot, node: str) -> list[Pod]:
    """The pods on a node that have an address and have not ended."""
    return [pod for pod in snapshot.select(Pod, pods_by_node, node).values() if pod.ips and not pod.ended]


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


def _overlay(snapshot: Snapshot, node: Node) -> Overlay:
    lab = snapshot.lab
    others = [other for other in snapshot.all(Node).values() if other.name != node.name]
    theirs = snapshot.all(Pod).values() if overlay.knows_pods(lab) else ()
    living = (pod for pod in theirs if not pod.spec.hostNetwork and not pod.ended)
    return overlay.render(lab, node, others, uplink(lab, node), living)


def _namespace(
    lab: Lab,
    proxy: KubeProxyConfiguration,
    node: Node,
    *,
    veths: Iterable[Veth],
    tunnel: Overlay,
    localnet: dict[str, str],
) -> Netns:
    """A machine's own devices, addresses and routes are its own: none of them is desired, and so none is touched."""
    mtu, machine = overlay.pod_mtu(lab), lab.spec.machines
    outer, bridge, routes = [], [], []
    for family in FAMILIES:
        address, subnet = pick(node.addresses, family), pick(node.podCIDRs, family)
        cidr, router = pick(lab.spec.underlay.cidr, family), pick(lab.spec.underlay.router, family)
        if address and cidr and not machine:
            outer.append(Address(UPLINK, with_length(address, cidr), broadcast=family == "ipv4"))
            routes.append(Route("default", dev=UPLINK, via=router or gateway(cidr)))
        if subnet:
            bridge.append(Address(names.BRIDGE, with_length(gateway(subnet), subnet), broadcast=family == "ipv4"))
    first = pick(node.podCIDRs, "ipv4") or pick(node.podCIDRs, "ipv6")
    return Netns(
        name=names.namespace_of(lab.name, node.name, lab.spec.machines),
        hostname=node.name,
        role="node",
        sysctls=_sysctls(proxy, ipv6=bool(pick(node.podCIDRs, "ipv6")), machine=machine)
        | dict(tunnel.sysctls)
        | _forwarding(
            [*(() if machine else (UPLINK,)), *([names.BRIDGE] if first else []), *(x.name for x in tunnel.links)]
        )
        | localnet,
        links=(
            *(() if machine else (Device("lo"), Device(UPLINK, mtu=lab.spec.underlay.mtu, mac=_mac(node)))),
            *((Bridge(names.BRIDGE, mac=names.pod_mac(gateway(first)), mtu=mtu),) if first else ()),
            *tunnel.links,
            *veths,
        ),
        addresses=(*outer, *bridge, *tunnel.addresses),
        routes=(*routes, *tunnel.routes),
        neighbours=tunnel.neighbours,
        fdb=tunnel.fdb,
        owned=(names.BRIDGE, *overlay.tunnels(lab)),
        networks=() if machine else tuple(whole for family in FAMILIES if (whole := pick(lab.spec.podCIDR, family))),
        resolutions=tunnel.resolutions,
        uid=node.metadata.uid,
    )


def _localnet(node: Node, mine: list[Pod]) -> dict[str, str]:
    """portmap lets packets from 127.0.0.1 leave for a pod with a hostPort; when none is left they stay again."""
    if not pick(node.podCIDRs, "ipv4"):
        return {}
    wanted = any(hostports.ports_of(pod) for pod in mine)
    return {f"net.ipv4.conf.{names.BRIDGE}.route_localnet": "1" if wanted else "0"}


def _forwarding(devices: Iterable[str]) -> dict[str, str]:
    """As the node's own ip_forward leaves it; but each device's can be changed alone."""
    return {f"net.ipv4.conf.{device.replace('.', '/')}.forwarding": "1" for device in devices}


def _mac(node: Node) -> str:
    """The address of a node's uplink, as the router makes it."""
    return names.pod_mac(node.addresses[0]) if node.addresses else ""


def _sysctls(proxy: KubeProxyConfiguration, ipv6: bool, machine: bool) -> dict[str, str]:
    """What kubelet, kube-proxy and the CNI plugins set on a node; on a machine that is more than this node, not more
    than it needs."""
    sysctls = {"net.ipv4.ip_forward": "1", "net.bridge.bridge-nf-call-iptables": "1"}
    if not machine:
        sysctls |= {"net.ipv4.conf.all.rp_filter": "0", "net.ipv4.conf.default.rp_filter": "0"}
    if proxy.iptables.localhostNodePorts is not False:
        sysctls["net.ipv4.conf.all.route_localnet"] = "1"
    elif not machine:
        sysctls["net.ipv4.conf.all.route_localnet"] = "0"
    if proxy.conntrack.tcpBeLiberal:
        sysctls["net.netfilter.nf_conntrack_tcp_be_liberal"] = "1"
    if not ipv6:
        return sysctls if machine else pods.NO_IPV6 | sysctls
    sysctls |= {"net.ipv6.conf.all.forwarding": "1", "net.bridge.bridge-nf-call-ip6tables": "1"}
    return sysctls if machine else pods.NO_DAD | sysctls


def _rules(lab: Lab, node: Node, mine: list[Pod]) -> Iterable[RuleSet]:
    for family in FAMILIES:
        cluster, subnet = pick(lab.spec.podCIDR, family), pick(node.podCIDRs, family)
        if cluster and subnet:
            yield masquerade.render(cluster, subnet, family)
            yield hostports.render(node, mine, family)
