"""Felix's devices and routes of one node.

Pools without VXLAN are BIRD's (`render.routing.calico`): their blackholes and routes are in no plan of ours.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from k8snetlab.api import pools
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import host
from k8snetlab.dataplane.links import Address, Vxlan
from k8snetlab.dataplane.names import VXLAN_CALICO
from k8snetlab.dataplane.netns import Netns, NodeDataplane
from k8snetlab.dataplane.routing import FELIX, FdbEntry, Neighbour, Route
from k8snetlab.dataplane.rules import RuleSet
from k8snetlab.render.blocks import Holder, holders, tunnelled
from k8snetlab.render.calico import rules
from k8snetlab.render.overlay import pod_mtu
from k8snetlab.render.uplink import forwarding, uplink

VNI, PORT = 4096, 4789


def render(snapshot: Snapshot, name: str) -> NodeDataplane:
    """Nothing but a claim to the names, where Calico is not the network."""
    lab = snapshot.lab
    netns = Netns(names.namespace_of(lab.name, name, lab.spec.machines), owned=(VXLAN_CALICO,))
    if lab.spec.machines:
        return NodeDataplane(Netns(netns.name))
    if not lab.spec.network.calico:
        return NodeDataplane(netns, (RuleSet("ipv4", {}, (names.CALI_CHAIN,)),))
    everybody = holders(snapshot)
    own = everybody.pop(name, None)
    sets = rules.sets(pools.pools(lab), [*([own] if own else []), *everybody.values()])
    part = NodeDataplane(
        msgspec.structs.replace(netns, networks=(lab.spec.podCIDR,), learns=lab.spec.network.routed),
        (rules.nat(bool(own and own.vxlan)),),
        sets=sets,
    )
    if own is None:
        return part
    others = list(everybody.values())
    node = msgspec.structs.replace(part.node, routes=(*_routes(snapshot, own, others),))
    if own.vxlan:
        node = _tunnelled(snapshot, own, others, node)
    return msgspec.structs.replace(part, node=node)


def _tunnelled(snapshot: Snapshot, own: Holder, others: list[Holder], node: Netns) -> Netns:
    """With vxlan.calico, which knows the other nodes' ends."""
    device = Vxlan(
        VXLAN_CALICO,
        vni=VNI,
        local=own.address,
        dev=uplink(snapshot.lab, snapshot.node(own.name)),
        port=PORT,
        mac=names.felix_mac(own.name),
        mtu=pod_mtu(snapshot.lab),
    )
    ends = [other for other in others if other.vxlan]
    return msgspec.structs.replace(
        node,
        sysctls=forwarding((VXLAN_CALICO,)),
        links=(device,),
        addresses=(Address(VXLAN_CALICO, host(own.vxlan)),),
        neighbours=tuple(Neighbour(VXLAN_CALICO, one.vxlan, names.felix_mac(one.name)) for one in ends),
        fdb=tuple(FdbEntry(VXLAN_CALICO, names.felix_mac(one.name), one.address) for one in ends),
    )


def _routes(snapshot: Snapshot, own: Holder, others: list[Holder]) -> Iterator[Route]:
    """To what other nodes hold of pools with VXLAN; and nowhere, for what is not in use of the node's own blocks."""
    device = uplink(snapshot.lab, snapshot.node(own.name))
    for held in own.blocks:
        if held.pool.vxlanMode != "Never":
            yield Route(held.cidr, blackhole=True, protocol=FELIX)
    for other in others:
        for held in other.led_to:
            if held.pool.vxlanMode == "Never":
                continue
            if not tunnelled(held.pool.vxlanMode, snapshot.lab, own.address, other.address):
                yield Route(held.cidr, dev=device, via=other.address, onlink=True, protocol=FELIX)
            elif own.vxlan and other.vxlan:
                yield Route(held.cidr, dev=VXLAN_CALICO, via=other.vxlan, onlink=True, protocol=FELIX)
