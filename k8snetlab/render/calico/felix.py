"""Felix's devices, routes and rules of one node.

Pools that are not `by_felix` are BIRD's (`render.routing.calico`): their blackholes and routes are in no plan of ours.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from k8snetlab.api import pools
from k8snetlab.api.lab import Lab
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import FAMILIES, host, pick
from k8snetlab.dataplane.links import Address, Ipip, Vxlan
from k8snetlab.dataplane.names import TUNL0, VXLAN_CALICO
from k8snetlab.dataplane.netns import Netns, NodeDataplane
from k8snetlab.dataplane.routing import FELIX, FdbEntry, Neighbour, Route
from k8snetlab.dataplane.rules import Family, RuleSet
from k8snetlab.render.blocks import Holder, by_felix, holders, tunnelled
from k8snetlab.render.calico import rules
from k8snetlab.render.felix import node as felix
from k8snetlab.render.felix import static
from k8snetlab.render.overlay import pod_mtu
from k8snetlab.render.uplink import forwarding, uplink

VNI, PORT = 4096, 4789


def render(snapshot: Snapshot, name: str) -> NodeDataplane:
    """Nothing but a claim to the names, where Calico is not the network."""
    lab = snapshot.lab
    netns = Netns(names.namespace_of(lab.name, name, lab.spec.machines), owned=(VXLAN_CALICO, TUNL0))
    if lab.spec.machines:
        return NodeDataplane(Netns(netns.name))
    if not lab.spec.network.calico:
        gone = (RuleSet(one, {}, (names.CALI_CHAIN,), obsolete=static.LAST) for one in _families(lab))
        return NodeDataplane(netns, tuple(gone))
    everybody = holders(snapshot)
    policed = [felix.render(snapshot, name, family, everybody.values()) for family in _families(lab)]
    own = everybody.pop(name, None)
    sets = rules.sets(pools.pools(lab), [*([own] if own else []), *everybody.values()])
    tunnels = (device for device, address in _tunnels(own) if address)
    nat = rules.nat(tunnels, masquerades=any(pool.natOutgoing for pool in pools.pools(lab)))
    part = NodeDataplane(
        msgspec.structs.replace(netns, networks=(lab.spec.podCIDR,), learns=lab.spec.network.routed),
        tuple(_joined(one.rules, nat) for one in policed),
        sets=(*sets, *(held for one in policed for held in one.sets)),
    )
    if own is None:
        return part
    others = list(everybody.values())
    node = msgspec.structs.replace(part.node, routes=(*_routes(snapshot, own, others),))
    if own.vxlan:
        node = _tunnelled(snapshot, own, others, node)
    if own.ipip:
        node = _with_tunl0(snapshot, own, node)
    return msgspec.structs.replace(part, node=node)


def _families(lab: Lab) -> list[Family]:
    return [family for family in FAMILIES if pick(lab.spec.podCIDR, family)]


def _joined(policed: RuleSet, nat: RuleSet) -> RuleSet:
    """All tables of one family; of the other `policed` alone."""
    if policed.family != nat.family:
        return policed
    return RuleSet(nat.family, {**policed.chains, **nat.chains}, nat.prefixes, (*policed.hooks, *nat.hooks))


def _tunnels(own: Holder | None) -> tuple[tuple[str, str], ...]:
    """The node's devices, each with its address or ""."""
    return ((TUNL0, own.ipip), (VXLAN_CALICO, own.vxlan)) if own else ()


def _with_tunl0(snapshot: Snapshot, own: Holder, node: Netns) -> Netns:
    network = snapshot.lab.spec.network
    mtu = network.mtu or snapshot.lab.spec.underlay.mtu - pools.OVERHEAD["ipip"]
    return msgspec.structs.replace(
        node,
        sysctls={**node.sysctls, **forwarding((TUNL0,))},
        links=(*node.links, Ipip(TUNL0, mtu)),
        addresses=(*node.addresses, Address(TUNL0, host(own.ipip))),
    )


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
    mine = {held.cidr for held in own.blocks}
    for held in own.blocks:
        if by_felix(snapshot.lab, held.pool):
            yield Route(held.cidr, blackhole=True, protocol=FELIX)
    for other in others:
        for held in other.led_to:
            if not by_felix(snapshot.lab, held.pool) or held.cidr in mine:
                continue
            if not tunnelled(held.pool, own, other):
                yield Route(held.cidr, dev=device, via=other.address, onlink=True, protocol=FELIX)
            elif held.pool.tunnel == "ipip":
                yield Route(held.cidr, dev=TUNL0, via=other.address, onlink=True, protocol=FELIX)
            elif own.vxlan and other.vxlan:
                yield Route(held.cidr, dev=VXLAN_CALICO, via=other.vxlan, onlink=True, protocol=FELIX)
