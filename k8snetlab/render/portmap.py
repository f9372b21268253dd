"""What the CNI plugin portmap makes of a node's pods with hostPorts."""

from __future__ import annotations

from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import FAMILIES, pick
from k8snetlab.dataplane.netns import Netns, NodeDataplane
from k8snetlab.render import hostports
from k8snetlab.render.pods import pods_of


def render(snapshot: Snapshot, name: str) -> NodeDataplane:
    """Lets packets from 127.0.0.1 leave for pods with a hostPort, as long as there are any."""
    lab, node = snapshot.lab, snapshot.node(name)
    mine = [pod for pod in pods_of(snapshot, name) if not pod.spec.hostNetwork]
    wanted = "1" if any(hostports.ports_of(pod) for pod in mine) else "0"
    localnet = {f"net.ipv4.conf.{names.BRIDGE}.route_localnet": wanted} if pick(node.podCIDRs, "ipv4") else {}
    families = [f for f in FAMILIES if pick(lab.spec.podCIDR, f) and pick(node.podCIDRs, f)]
    if lab.spec.network.calico:
        rules = hostports.render(node, mine, "ipv4", hostports.CALICOS)
        return NodeDataplane(Netns(name=names.namespace_of(lab.name, name, lab.spec.machines)), rules=(rules,))
    return NodeDataplane(
        Netns(name=names.namespace_of(lab.name, name, lab.spec.machines), sysctls=localnet),
        rules=tuple(hostports.render(node, mine, family) for family in families),
    )
