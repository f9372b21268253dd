"""NetworkPolicies of a snapshot to their resolved form; what has not changed since the last time is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

import msgspec

from k8snetlab.api.addressing import api_network
from k8snetlab.api.cluster_policy import ClusterNetworkPolicy
from k8snetlab.api.meta import LabelSelector, Object
from k8snetlab.api.networking import NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.api.words import Path
from k8snetlab.policies import calico_words
from k8snetlab.policies.calico import CalicoResolver
from k8snetlab.policies.calico_shapes import CalicoPolicy
from k8snetlab.policies.cluster import ClusterResolving
from k8snetlab.policies.selecting import Selection, named_port
from k8snetlab.policies.shapes import Block, Direction, Ends, Peer, Policy, Port, PortRange, Resolved, Rule

EVERY = LabelSelector()
P = TypeVar("P", Policy, CalicoPolicy)
Made = tuple[NetworkPolicy | ClusterNetworkPolicy, tuple[Ends, ...], Policy]
"""A policy, what its selectors found, and what became of it."""


class Resolver:
    """Keeps what it found, so that a changed pod costs what the pod changes. One for each who asks."""

    def __init__(self) -> None:
        self._selection: Selection | None = None
        self._made: dict[Key, Made] = {}
        self._resolved: Resolved | None = None
        self._calico = CalicoResolver()

    def update(self, snapshot: Snapshot) -> Resolved:
        """The policies of a snapshot; the same value as before where neither pods, namespaces, policies nor nodes that
        a policy names have changed."""
        selection = Selection(snapshot, self._selection)
        made: dict[Key, Made] = {}
        for policy in _in_order(snapshot):
            resolving = _resolving(policy, selection)
            old = self._made.get(policy.key)
            if old is not None and old[0] is policy and _same(old[1], resolving.ends):
                made[policy.key] = old
            else:
                made[policy.key] = (policy, resolving.ends, resolving.policy())
        self._selection = selection
        own = self._calico.update(snapshot, selection)
        felix = snapshot.lab.spec.network.calico or bool(own)
        if self._resolved is None or not self._alike(made, selection, own, felix=felix):
            policies = [one for _, _, one in made.values()]
            of_pods, of_calico = _by_pod(policies), _by_pod(own.values())
            self._resolved = Resolved(
                {k: m[2] for k, m in made.items()}, selection.ends, of_pods, own, of_calico, felix
            )
        self._made = made
        return self._resolved

    def _alike(
        self, made: Mapping[Key, Made], selection: Selection, own: Mapping[Key, CalicoPolicy], *, felix: bool
    ) -> bool:
        assert self._resolved is not None
        if self._resolved.calico is not own or self._resolved.felix is not felix:
            return False
        same = len(made) == len(self._made) and all(self._made.get(k) is one for k, one in made.items())
        return same and self._resolved.pods == selection.ends


def resolved(objects: Snapshot | Iterable[Object]) -> Resolved:
    """The policies of a snapshot or of objects with their defaults, once; `Resolver` is for who asks again."""
    return Resolver().update(objects if isinstance(objects, Snapshot) else Snapshot.of(objects))


def _same(before: tuple[Ends, ...], after: tuple[Ends, ...]) -> bool:
    return len(before) == len(after) and all(a is b or a == b for a, b in zip(before, after, strict=True))


def _in_order(snapshot: Snapshot) -> Iterator[NetworkPolicy | ClusterNetworkPolicy]:
    """As the tiers are asked. Of policies with one priority the API leaves it open; here their names decide."""
    of_cluster = sorted(snapshot.all(ClusterNetworkPolicy).values(), key=lambda one: (one.spec.priority, one.name))
    yield from (one for one in of_cluster if one.spec.tier == "Admin")
    yield from (one for _, one in sorted(snapshot.all(NetworkPolicy).items()))
    yield from (one for one in of_cluster if one.spec.tier == "Baseline")


def _resolving(policy: NetworkPolicy | ClusterNetworkPolicy, selection: Selection) -> _Resolving | ClusterResolving:
    return (ClusterResolving if isinstance(policy, ClusterNetworkPolicy) else _Resolving)(policy, selection)  # type: ignore[arg-type]


def _by_pod(policies: Iterable[P]) -> Mapping[Key, tuple[P, ...]]:
    found: dict[Key, list[P]] = {}
    for policy in policies:
        for pod in policy.selected:
            found.setdefault(pod, []).append(policy)
    return {pod: tuple(policies) for pod, policies in found.items()}


class _Resolving:
    """One policy among the pods. `ends` are the answers to its selectors, in the order in which they are written, and
    all pods where a port's name may be that of any."""

    def __init__(self, policy: NetworkPolicy, selection: Selection) -> None:
        self.of, self.selection = policy, selection
        spec = policy.spec
        self.selected = selection.pods(policy.namespace, spec.podSelector)
        ends = [self.selected]
        self._peers: dict[int, Ends] = {}
        for rule in (*(r.from_ for r in spec.ingress), *(r.to for r in spec.egress)):
            for peer in rule:
                ends.append(self._pods(peer))
        if any(not rule.to and any(isinstance(port.port, str) for port in rule.ports) for rule in spec.egress):
            ends.append(selection.ends)
        self.ends = tuple(ends)

    def _pods(self, peer: NetworkPolicyPeer) -> Ends:
        if peer.ipBlock is not None:
            return {}
        if peer.namespaceSelector is not None:
            return self.selection.pods_of(peer.namespaceSelector, peer.podSelector)
        return self.selection.pods(self.of.namespace, peer.podSelector or EVERY)

    def policy(self) -> Policy:
        spec, policy = self.of.spec, self.of
        types = spec.policyTypes or (("Ingress", "Egress") if spec.egress else ("Ingress",))
        ingress = tuple(
            self._rule("ingress", ("spec", "ingress", number), rule.from_, rule.ports)
            for number, rule in enumerate(spec.ingress)
        )
        egress = tuple(
            self._rule("egress", ("spec", "egress", number), rule.to, rule.ports)
            for number, rule in enumerate(spec.egress)
        )
        return Policy(
            policy.key,
            policy.source,
            self.selected,
            ingress if "Ingress" in types else None,
            egress if "Egress" in types else None,
            selector=calico_words.policy(policy.namespace, spec.podSelector),
        )

    def _rule(
        self,
        direction: Direction,
        path: Path,
        peers: tuple[NetworkPolicyPeer, ...],
        ports: tuple[NetworkPolicyPort, ...],
    ) -> Rule:
        field = "from" if direction == "ingress" else "to"
        found = tuple(self._peer((*path, field, number), peer) for number, peer in enumerate(peers)) or None
        rule = Rule(path, found, None)
        if not ports:
            return rule
        named = rule.pods if found else self.selection.ends
        destinations = self.selected if direction == "ingress" else named
        return msgspec.structs.replace(
            rule, ports=tuple(_port((*path, "ports", n), port, destinations) for n, port in enumerate(ports))
        )

    def _peer(self, path: Path, peer: NetworkPolicyPeer) -> Peer:
        block = peer.ipBlock
        if block is None:
            said = calico_words.peer(self.of.namespace, peer.namespaceSelector, peer.podSelector)
            return Peer(path, self._pods(peer), selector=said)
        network = api_network(block.cidr, strict=False)
        return Peer(path, {}, Block(network, tuple(api_network(one, strict=False) for one in block.except_)))


def _port(path: Path, port: NetworkPolicyPort, destinations: Ends) -> Port:
    protocol = port.protocol or "TCP"
    if port.port is None:
        return PortRange(path, protocol)
    if isinstance(port.port, int):
        return PortRange(path, protocol, port.port, port.port if port.endPort is None else port.endPort)
    return named_port(path, protocol, port.port, destinations)
