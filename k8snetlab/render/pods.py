"""A pod's sandbox: its namespace and the veth pair into cni0, as the CNI plugins bridge and host-local leave them.

Or as Calico's CNI plugin does: no bridge, an address alone in its network, and a gateway that no device has and the
node's end of the pair answers for. Source: cni-plugin/pkg/dataplane/linux/dataplane_linux.go.
"""

from __future__ import annotations

from collections.abc import Iterable

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.lab import Lab
from k8snetlab.api.selection import pods_by_node
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import FAMILIES, gateway, host, pick, with_length
from k8snetlab.dataplane.links import Address, Device, Veth
from k8snetlab.dataplane.names import ETH0
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.routing import Route
from k8snetlab.render.overlay import pod_mtu

LINK_LOCAL_GATEWAY = "169.254.1.1"
"""The gateway of Calico's pods: of no device, each node's end of a pair answers for it."""


def pods_of(snapshot: Snapshot, node: str) -> list[Pod]:
    """The pods on a node that have an address and have not ended."""
    return [pod for pod in snapshot.select(Pod, pods_by_node, node).values() if pod.ips and not pod.ended]


def sandbox_name(lab: Lab, pod: Pod) -> str:
    """The namespace a pod's processes live in: its own, or its node's with hostNetwork."""
    if pod.spec.hostNetwork:
        return names.namespace_of(lab.name, pod.spec.nodeName, lab.spec.machines)
    return names.pod_netns(lab.name, pod.namespace, pod.name)


def veth(lab: Lab, pod: Pod) -> Veth:
    """The pair that joins a pod to its node's cni0, or to its node alone, seen from the node."""
    if lab.spec.network.calico:
        return Veth(
            names.cali(pod.namespace, pod.name),
            peer=ETH0,
            peer_netns=sandbox_name(lab, pod),
            mac=names.CALI_MAC,
            peer_mac=names.pod_mac(pod.ips[0]),
            mtu=pod_mtu(lab),
        )
    return Veth(
        names.veth(pod.namespace, pod.name, pod.run_uid),
        peer=ETH0,
        peer_netns=sandbox_name(lab, pod),
        peer_mac=names.pod_mac(pod.ips[0]),
        mtu=pod_mtu(lab),
        master=names.BRIDGE,
        hairpin=True,
    )


def sandbox(lab: Lab, node: Node, pod: Pod) -> Netns:
    """What the pod itself sees. In each family: its address, a default route and one to the pod network via cni0."""
    addresses, routes = [], []
    if lab.spec.network.calico:
        addresses.append(Address(ETH0, host(pod.ips[0])))
        routes += [Route(host(LINK_LOCAL_GATEWAY), dev=ETH0), Route("default", dev=ETH0, via=LINK_LOCAL_GATEWAY)]
    for family in FAMILIES:
        address, subnet = pick(pod.ips, family), pick(node.podCIDRs, family)
        if not address or not subnet:
            continue
        addresses.append(Address(ETH0, with_length(address, subnet), broadcast=family == "ipv4"))
        routes.append(Route("default", dev=ETH0, via=gateway(subnet)))
        routes.append(Route(pick(lab.spec.podCIDR, family), dev=ETH0, via=gateway(subnet)))
    return Netns(
        name=sandbox_name(lab, pod),
        hostname=pod.hostname,
        role="pod",
        sysctls=NO_DAD if pick(node.podCIDRs, "ipv6") else NO_IPV6,
        links=(Device("lo"), Device(ETH0, mtu=pod_mtu(lab), mac=names.pod_mac(pod.ips[0]))),
        addresses=tuple(addresses),
        routes=tuple(routes),
        uid=pod.run_uid,
    )


class Sandboxes:
    """Sandboxes and veths as last rendered: the same pod object gets the same ones.

    For whoever renders one node again and again: most changes of a lab are none of most pods.
    """

    def __init__(self) -> None:
        self._held: dict[Key, tuple[Pod, Netns, Veth]] = {}
        self._for: tuple[object, ...] = ()

    def of(self, lab: Lab, node: Node, pods: Iterable[Pod]) -> tuple[tuple[Netns, ...], tuple[Veth, ...]]:
        """Those of all pods of the node, in order."""
        around = (lab.name, lab.spec, node.podCIDRs)
        held = self._held if around == self._for else {}
        self._held, self._for = {}, around
        for pod in pods:
            known = held.get(pod.key)
            if known is None or known[0] is not pod:
                known = (pod, sandbox(lab, node, pod), veth(lab, pod))
            self._held[pod.key] = known
        return tuple(one for _, one, _ in self._held.values()), tuple(one for _, _, one in self._held.values())


NO_IPV6 = {"net.ipv6.conf.all.disable_ipv6": "1", "net.ipv6.conf.default.disable_ipv6": "1"}
"""Labs without IPv6 switch it off: devices come up twice as fast without duplicate address detection."""
DAD = "net.ipv6.conf.{}.accept_dad"
NO_DAD = {DAD.format(device): "0" for device in ("default", ETH0)}
"""Nobody else has the addresses that the lab gives; detection of duplicates would lose the packets of its first two
seconds. The CNI plugin bridge switches it off in pods too (`enabledad`)."""
