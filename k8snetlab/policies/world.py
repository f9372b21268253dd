"""All that policies are about, of a snapshot: its pods, its nodes, and the host outside, as ends of connections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from k8snetlab.api.addressing import api_address
from k8snetlab.api.calico_policy import CalicoNetworkPolicy, GlobalNetworkPolicy
from k8snetlab.api.cluster_policy import ClusterNetworkPolicy
from k8snetlab.api.core import Node, Pod
from k8snetlab.api.meta import Object
from k8snetlab.api.networking import NetworkPolicy
from k8snetlab.api.pools import pools, tunnel_address
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.api.topology import shares_link
from k8snetlab.errors import InputError, NotFoundError
from k8snetlab.policies.calico import key_of, written
from k8snetlab.policies.matrix import At
from k8snetlab.policies.resolve import Resolver
from k8snetlab.policies.shapes import End, Resolved
from k8snetlab.wording import nearest

OUTSIDE = "outside"
HTTP: At = ("TCP", 80)


class World(msgspec.Struct, frozen=True, eq=False):
    """`pods` are all that have not ended, `others` the nodes and the hosts outside; `held` is each by its addresses,
    where several have one a node, else a pod that is not in its node's network."""

    snapshot: Snapshot
    resolved: Resolved
    pods: tuple[End, ...]
    others: tuple[End, ...]
    held: Mapping[str, End]

    def is_outside(self, end: End) -> bool:
        """Whether it is the host outside, or one of the lab's others."""
        return any(end is other and not other.node for other in self.others)

    @property
    def ports(self) -> tuple[At, ...]:
        """Those that pods' containers say they have; TCP 80 where none says any."""
        pods = self.snapshot.all(Pod)
        ports = (port for end in self.pods if end.key for port in pods[end.key].spec.serving_ports)
        found = sorted({(port.protocol, port.containerPort) for port in ports})
        return tuple(found) or (HTTP,)

    def sending(self, pod: End) -> End:
        """A pod in its node's network sends as its node does."""
        node = next((end for end in self.others if end.name == pod.node), None) if pod.host else None
        mine = node is not None and set(pod.addresses) <= set(node.addresses)
        return msgspec.structs.replace(pod, senders=node.senders, beside=node.beside) if mine and node else pod

    def pod(self, name: str) -> End:
        """A pod by its name, or namespace/name. Raises NotFoundError, InputError."""
        name = name.removeprefix("pod/")
        named = [end for end in self.pods if end.name == name or (end.key and end.key[1] == name)]
        first = [end for end in named if end.name in (name, f"default/{name}")] or named
        if not first:
            raise NotFoundError(f"pod {name!r} not found", nearest(name, [end.name for end in self.pods]))
        if len(first) > 1:
            raise InputError(f"{name} is several pods", f"write one of {', '.join(end.name for end in first[:4])}")
        return first[0]

    def end(self, name: str) -> End:
        """A pod, a node, `outside`, or an address, which is a pod's or a node's where one has it."""
        for end in self.others:
            if end.name == name:
                return end
        try:
            address = str(api_address(name))
        except ValueError:
            return self.pod(name)
        return self.held.get(address) or End(address, (address,))


def policies_of(snapshot: Snapshot) -> Mapping[Key, Object]:
    """NetworkPolicies, with "" as their namespace ClusterNetworkPolicies, and Calico's own by the keys they have."""
    own = {key_of(policy): policy for policy in written(snapshot)}
    return {**snapshot.all(NetworkPolicy), **snapshot.all(ClusterNetworkPolicy), **own}


def in_force(snapshot: Snapshot) -> bool:
    """Whether there are policies and a controller that brings them into the kernel."""
    kinds: tuple[type[Object], ...] = (NetworkPolicy, ClusterNetworkPolicy, CalicoNetworkPolicy, GlobalNetworkPolicy)
    return any(snapshot.all(kind) for kind in kinds) and snapshot.lab.spec.networkPolicy.controller != "none"


def without_effect(snapshot: Snapshot) -> str:
    """That there are policies and nobody brings them into the kernel, in a sentence; "" where that is not so."""
    lab, number = snapshot.lab, len(policies_of(snapshot))
    if not number or in_force(snapshot):
        return ""
    kind = "NetworkPolic" if snapshot.all(NetworkPolicy) else "ClusterNetworkPolic"
    kind = "polic" if written(snapshot) else kind
    those = f"{number} {kind}ies are" if number > 1 else f"1 {kind}y is"
    line = f", {lab.source}" if lab.source else ""
    return f"{those} stored and without effect: networkPolicy.controller of Lab {lab.name} is none{line}"


def world(snapshot: Snapshot) -> World:
    resolved = Resolver().update(snapshot)
    nodes = [_node(snapshot, node) for _, node in sorted(snapshot.all(Node).items())]
    pods, others = tuple(resolved.pods.values()), (*nodes, *_outside(snapshot))
    inside = sorted(pods, key=lambda pod: not pod.host)
    held = {address: end for end in (*inside, *others) for address in end.addresses}
    found = World(snapshot, resolved, pods, others, held)
    return msgspec.structs.replace(found, pods=tuple(map(found.sending, pods)))


def _node(snapshot: Snapshot, node: Node) -> End:
    """Pods of other nodes see a node by another address than its own where flannel's VXLAN carries its packets:
    flannel.1's, or where a tunnel of Calico's does, that one's."""
    network = snapshot.lab.spec.network
    tunnel = network.backend == "vxlan" and not network.directRouting and node.podCIDRs
    senders = tuple(cidr.partition("/")[0] for cidr in node.podCIDRs) if tunnel else ()
    beside: tuple[str, ...] = ()
    used = {pool.tunnel for pool in pools(snapshot.lab) if pool.mode == "Always"}
    if not used and snapshot.lab.spec.underlay.links:
        used = {pool.tunnel for pool in pools(snapshot.lab) if pool.mode == "CrossSubnet"}
        beside = tuple(_beside(snapshot, node)) if used else ()
    senders += tuple(address for tunnel in sorted(used) if (address := tunnel_address(node, tunnel)))
    own = _one_a_family(node.addresses)
    return End(node.name, own, None, node.name, True, senders=_one_a_family(senders), beside=beside)


def _beside(snapshot: Snapshot, node: Node) -> Iterator[str]:
    """Those on its link, itself too."""
    underlay = snapshot.lab.spec.underlay
    yield from (other.name for other in snapshot.all(Node).values() if shares_link(underlay, node.name, other.name))


def _outside(snapshot: Snapshot) -> Iterator[End]:
    spec = snapshot.lab.spec
    yield End(OUTSIDE, _one_a_family(one.strip().partition("/")[0] for one in spec.underlay.outside.split(",")))
    for host in spec.hosts:
        yield End(host.name, host.addresses)


def _one_a_family(addresses: Iterable[str]) -> tuple[str, ...]:
    found: dict[bool, str] = {}
    for address in addresses:
        if address:
            found.setdefault(":" in address, address)
    return tuple(found.values())
