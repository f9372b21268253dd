"""flannel's part of a node: its backend's devices, routes and entries, and its few rules."""

from __future__ import annotations

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import FAMILIES, pick
from k8snetlab.dataplane.netns import Netns, NodeDataplane
from k8snetlab.dataplane.rules import RuleSet
from k8snetlab.render import masquerade, overlay
from k8snetlab.render.uplink import forwarding, uplink


def render(snapshot: Snapshot, name: str) -> NodeDataplane:
    """Nothing but a claim to the names, where Calico is the network.

    Raises NotFoundError for a machine that does not name the interface by which others reach it.
    """
    lab, node = snapshot.lab, snapshot.node(name)
    if lab.spec.network.calico:
        nothing = RuleSet("ipv4", {}, names.FLANNEL_CHAINS)
        return NodeDataplane(
            Netns(names.namespace_of(lab.name, name, lab.spec.machines), owned=overlay.tunnels(lab)), (nothing,)
        )
    others = [other for other in snapshot.all(Node).values() if other.name != name]
    theirs = snapshot.all(Pod).values() if overlay.knows_pods(lab) else ()
    living = (pod for pod in theirs if not pod.spec.hostNetwork and not pod.ended)
    tunnel = overlay.render(lab, node, others, uplink(lab, node), living)
    clusters = [(family, cidr) for family in FAMILIES if (cidr := pick(lab.spec.podCIDR, family))]
    return NodeDataplane(
        Netns(
            name=names.namespace_of(lab.name, name, lab.spec.machines),
            sysctls=dict(tunnel.sysctls) | forwarding(link.name for link in tunnel.links),
            links=tunnel.links,
            addresses=tunnel.addresses,
            routes=tunnel.routes,
            neighbours=tunnel.neighbours,
            fdb=tunnel.fdb,
            owned=overlay.tunnels(lab),
            networks=() if lab.spec.machines else tuple(cidr for _, cidr in clusters),
            resolutions=tunnel.resolutions,
            learns=lab.spec.network.routed,
        ),
        rules=tuple(
            masquerade.render(cluster, subnet, family)
            for family, cluster in clusters
            if (subnet := pick(node.podCIDRs, family))
        ),
    )
