"""Nodes out of the Lab: addresses, pod subnets as flannel's subnet manager gives them, flannel's annotations.

In a lab of machines each machine makes its own Node (machines/registration.py), described by `described`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address

from msgspec.structs import replace

from k8snetlab.api import pools, topology
from k8snetlab.api.addressing import IPNetwork, free_subnet, parse_networks, split
from k8snetlab.api.core import Node, NodeAddress, Taint
from k8snetlab.api.defaults import expanded_nodes
from k8snetlab.api.flannel import (
    BACKEND_DATA,
    BACKEND_TYPE,
    KUBE_SUBNET_MANAGER,
    PUBLIC_IP,
    backend_data,
    vtep_mac,
    vtep_mac_of,
)
from k8snetlab.api.flannel import PREFIX as FLANNEL
from k8snetlab.api.inside import ADDRESS
from k8snetlab.api.lab import Lab, LabNode
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.plane import API, ROLE, servers
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.changes import NOTHING, Answer, Context, put, remove
from k8snetlab.controllers.identity import owned_by, uid
from k8snetlab.dataplane.families import pick, with_length

_FAMILY = {4: "ipv4", 6: "ipv6"}


def reconcile(now: Snapshot, before: Snapshot | None, context: Context = NOTHING) -> Iterator[Answer]:
    if not (now.changes(Lab, before) or now.changes(Node, before)):
        return
    for lab in now.all(Lab).values():
        if lab.spec.machines:
            continue
        wanted = expanded_nodes(lab.spec)
        names = {entry.name for entry in wanted}
        for node in now.all(Node).values():
            if node.name not in names and any(o.kind == Lab.KIND for o in node.metadata.ownerReferences):
                yield from remove(node, now)
        yield from _nodes(lab, wanted, now, context)


def _nodes(lab: Lab, wanted: tuple[LabNode, ...], now: Snapshot, context: Context) -> Iterator[Answer]:
    """Subnets written in the Lab come first, then those that nodes have, then free ones in order."""
    cluster = [] if lab.spec.network.calico else parse_networks(lab.spec.podCIDR)
    serving = {seat.node: seat.address for seat in servers(lab)}
    fixed = {entry.name: parse_networks(entry.podCIDR) for entry in wanted}
    taken = [subnet for subnets in fixed.values() for subnet in subnets]
    kept: dict[str, list[IPNetwork]] = {}
    others = [n for n in now.all(Node).values() if n.name not in fixed]
    taken += [subnet for node in others for cidr in node.podCIDRs for subnet in parse_networks(cidr)]
    for entry in wanted:
        node = now.get(Node, entry.name)
        had = [subnet for cidr in node.podCIDRs for subnet in parse_networks(cidr)] if node else []
        kept[entry.name] = [
            subnet
            for subnet in had
            if not any(subnet.version == f.version for f in fixed[entry.name])
            and any(subnet.version == c.version and subnet.subnet_of(c) for c in cluster)  # type: ignore[arg-type]
            and not any(subnet.overlaps(t) for t in taken)
        ]
        taken += kept[entry.name]
    for entry in wanted:
        subnets = []
        for whole in cluster:
            own = [s for s in (*fixed[entry.name], *kept[entry.name]) if s.version == whole.version]
            subnet = own[0] if own else free_subnet(lab.spec.network.subnets(whole), taken)
            if subnet:
                subnets.append(subnet)
                taken.append(subnet)
        old = now.get(Node, entry.name)
        new = described(
            lab,
            entry,
            subnets,
            old,
            context.architecture,
            capacity=context.capacity,
            allocatable=context.allocatable,
        )
        if old is None and ROLE in entry.labels:
            new = _of_the_plane(new)
        if entry.name in serving:
            annotations = {**new.metadata.annotations, ADDRESS: f"{serving[entry.name]}:{API}"}
            new = replace(new, metadata=replace(new.metadata, annotations=annotations))
        if not new.metadata.ownerReferences:
            new = replace(new, metadata=replace(new.metadata, ownerReferences=(owned_by(lab),)))
        if new != old:
            yield put(new)


def _of_the_plane(node: Node) -> Node:
    """A new node for the control plane: its namespace is there before the store that it is put into, and whoever made
    that must not find another node in this one."""
    node = replace(node, spec=replace(node.spec, taints=(Taint(key=ROLE, effect="NoSchedule"),)))
    return replace(node, metadata=replace(node.metadata, uid=uid(node, 0)))


def described(
    lab: Lab,
    entry: LabNode,
    subnets: Iterable[IPNetwork],
    old: Node | None,
    architecture: str = "amd64",
    *,
    capacity: Mapping[str, str] = {},
    allocatable: Mapping[str, str] = {},
) -> Node:
    """The node as the Lab wants it; conditions, cordons, and labels and annotations of others stay.

    `entry` has the node's addresses, `subnets` one pod subnet of each family; `architecture` is Go's word for the
    machine's, `capacity` what it has and `allocatable` what pods may request, until a kubelet says it. Labels that a
    kubelet gives its node are there unless the lab file says otherwise.
    """
    subnets = list(subnets)
    node = old or Node(metadata=ObjectMeta(name=entry.name))
    addresses = [NodeAddress(type="InternalIP", address=a) for a in split(entry.address)]
    cidrs = tuple(map(str, subnets))
    metadata = replace(
        node.metadata,
        labels={
            **node.metadata.labels,
            "beta.kubernetes.io/arch": architecture,
            "beta.kubernetes.io/os": "linux",
            "kubernetes.io/arch": architecture,
            "kubernetes.io/hostname": entry.name,
            "kubernetes.io/os": "linux",
            **entry.labels,
        },
        annotations=_annotations(lab, entry, subnets, node),
    )
    pods = {"pods": str(entry.maxPods or lab.spec.maxPods)}
    return replace(
        node,
        metadata=metadata,
        spec=replace(node.spec, podCIDR=cidrs[0] if cidrs else "", podCIDRs=cidrs),
        status=replace(
            node.status,
            addresses=(*addresses, NodeAddress(type="Hostname", address=entry.name)),
            capacity={**capacity, **node.status.capacity, **pods},
            allocatable={**allocatable, **node.status.allocatable, **pods},
        ),
    )


def _annotations(lab: Lab, entry: LabNode, subnets: list[IPNetwork], node: Node) -> dict[str, str]:
    """With those of the network that the lab has, and without those of the one that it had before."""
    before = node.metadata.annotations
    if not lab.spec.network.calico:
        return {**pools.kept(before), **_flannel(lab, entry, subnets, node)}
    own = {key: value for key, value in before.items() if not key.startswith(FLANNEL)}
    if (address := pick(entry.address, "ipv4")) and (link := topology.network_of(lab.spec.underlay, entry.name)):
        own[pools.IPV4_ADDRESS] = with_length(address, link)
    given = {pools.AS_NUMBER: str(entry.asNumber or ""), pools.CLUSTER_ID: entry.routeReflectorClusterID}
    own = {key: value for key, value in own.items() if key not in given}
    return own | {key: value for key, value in given.items() if value}


def _flannel(lab: Lab, entry: LabNode, subnets: list[IPNetwork], node: Node) -> dict[str, str]:
    network = lab.spec.network
    annotations = {BACKEND_TYPE: network.flannel, KUBE_SUBNET_MANAGER: "true"}
    public = {_FAMILY[ip_address(a).version]: a for a in split(entry.address)}
    for family in (_FAMILY[subnet.version] for subnet in subnets):
        known = node.metadata.annotations.get(BACKEND_DATA[family], "null") != "null"
        mac = vtep_mac_of(node, family) if known else vtep_mac(lab.name, entry.name, family)
        annotations[BACKEND_DATA[family]] = backend_data(network.vni, mac) if network.backend == "vxlan" else "null"
        if family in public:
            annotations[PUBLIC_IP[family]] = public[family]
    return annotations
