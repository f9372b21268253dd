"""What the CNI plugin bridge makes of a node's pods: cni0, a veth pair for each of them, and their sandboxes.

Or what Calico's does, without a bridge: a route to each pod by its own end of the pair, which answers ARP requests for
whatever is asked. Source: cni-plugin/pkg/dataplane/linux/dataplane_linux.go; felix/dataplane/linux/endpoint_mgr.go.
"""

from __future__ import annotations

from collections.abc import Iterable

from k8snetlab.api.core import Pod
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import FAMILIES, gateway, host, pick, with_length
from k8snetlab.dataplane.links import Address, Bridge, Veth
from k8snetlab.dataplane.netns import Netns, NodeDataplane
from k8snetlab.dataplane.routing import Route
from k8snetlab.render.overlay import pod_mtu
from k8snetlab.render.pods import Sandboxes, pods_of
from k8snetlab.render.uplink import forwarding


def render(snapshot: Snapshot, name: str, sandboxes: Sandboxes | None = None) -> NodeDataplane:
    """`sandboxes`, if given, remember those of the last time: 500 pods then cost 0.3 ms instead of 10."""
    lab, node = snapshot.lab, snapshot.node(name)
    mine = [pod for pod in pods_of(snapshot, name) if not pod.spec.hostNetwork]
    inner, veths = (sandboxes or Sandboxes()).of(lab, node, mine)
    if lab.spec.network.calico:
        return NodeDataplane(_routed(names.namespace_of(lab.name, name, lab.spec.machines), mine, veths), pods=inner)
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


def _routed(netns: str, pods: Iterable[Pod], veths: tuple[Veth, ...]) -> Netns:
    """The node's end of each pod, and its route."""
    return Netns(
        name=netns,
        sysctls={key: value for one in veths for key, value in _sysctls(one.name).items()},
        links=veths,
        routes=tuple(Route(host(pod.ips[0]), dev=one.name) for pod, one in zip(pods, veths, strict=True)),
        owned=(names.BRIDGE,),
    )


def _sysctls(device: str) -> dict[str, str]:
    """proxy_delay: without it the kernel waits up to 0.8 s before it answers for others."""
    conf = f"net.ipv4.conf.{device}"
    return {
        f"{conf}.route_localnet": "1",
        f"{conf}.proxy_arp": "1",
        **forwarding((device,)),
        f"net.ipv4.neigh.{device}.proxy_delay": "0",
    }
