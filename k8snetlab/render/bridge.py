"""What the CNI plugin bridge makes of a node's pods: cni0, a veth pair for each of them, and their sandboxes."""

from __future__ import annotations

from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import FAMILIES, gateway, pick, with_length
from k8snetlab.dataplane.links import Address, Bridge
from k8snetlab.dataplane.netns import Netns, NodeDataplane
from k8snetlab.render.overlay import pod_mtu
from k8snetlab.render.pods import Sandboxes, pods_of
from k8snetlab.render.uplink import forwarding


def render(snapshot: Snapshot, name: str, sandboxes: Sandboxes | None = None) -> NodeDataplane:
    """`sandboxes`, if given, remember those of the last time: 500 pods then cost 0.3 ms instead of 10."""
    lab, node = snapshot.lab, snapshot.node(name)
    mine = [pod for pod in pods_of(snapshot, name) if not pod.spec.hostNetwork]
    inner, veths = (sandboxes or Sandboxes()).of(lab, node, mine)
    subnets = [(family, subnet) for family in FAMILIES if (subnet := pick(node.podCIDRs, family))]
    bridge = [Bridge(names.BRIDGE, mac=names.pod_mac(gateway(subnets[0][1])), mtu=pod_mtu(lab))] if subnets else []
    return NodeDataplane(
        Netns(
            name=names.namespace_of(lab.name, name, lab.spec.machines),
            sysctls=forwarding(one.name for one in bridge),
            links=(*bridge, *veths),
            addresses=tuple(
                Address(names.BRIDGE, with_length(gateway(subnet), subnet), broadcast=family == "ipv4")
                for family, subnet in subnets
            ),
            owned=(names.BRIDGE,),
        ),
        pods=inner,
    )
