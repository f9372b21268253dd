"""One ClusterNetworkPolicy among the pods."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from k8snetlab.api.addressing import api_network, same
from k8snetlab.api.cluster_policy import (
    ClusterNetworkPolicy,
    ClusterNetworkPolicyEgressPeer,
    ClusterNetworkPolicyEgressRule,
    ClusterNetworkPolicyIngressPeer,
    ClusterNetworkPolicyIngressRule,
    ClusterNetworkPolicyProtocol,
    ClusterNetworkPolicySubject,
)
from k8snetlab.api.core import Node
from k8snetlab.api.meta import LabelSelector
from k8snetlab.api.words import Path
from k8snetlab.dataplane.families import network
from k8snetlab.policies import calico_words
from k8snetlab.policies.selecting import NONE, Selection, named_port
from k8snetlab.policies.shapes import Block, Direction, End, Ends, Peer, Policy, Port, PortRange, Rule

PROTOCOLS = ("TCP", "UDP", "SCTP")
AnyPeer = ClusterNetworkPolicyIngressPeer | ClusterNetworkPolicyEgressPeer
AnyRule = ClusterNetworkPolicyIngressRule | ClusterNetworkPolicyEgressRule


class ClusterResolving:
    """`ends` are the answers to its selectors, of pods and of nodes, in the order in which they are written."""

    def __init__(self, policy: ClusterNetworkPolicy, selection: Selection) -> None:
        self.of, self.selection = policy, selection
        self.selected = self._pods(policy.spec.subject)
        peers = [one for _, rule in self._written() for one in _peers(rule)]
        self.ends = (self.selected, *map(self._pods, peers), *map(self._nodes, peers))

    def policy(self) -> Policy:
        spec, rules = self.of.spec, list(self._written())
        ingress = tuple(self._rule("ingress", path, rule) for path, rule in rules if path[1] == "ingress")
        egress = tuple(self._rule("egress", path, rule) for path, rule in rules if path[1] == "egress")
        return Policy(
            self.of.key,
            self.of.source,
            self.selected,
            ingress or None,
            egress or None,
            spec.tier,
            spec.priority,
            _subject(spec.subject),
        )

    def _written(self) -> Iterator[tuple[Path, AnyRule]]:
        yield from ((("spec", "ingress", number), rule) for number, rule in enumerate(self.of.spec.ingress))
        yield from ((("spec", "egress", number), rule) for number, rule in enumerate(self.of.spec.egress))

    def _rule(self, direction: Direction, path: Path, said: AnyRule) -> Rule:
        field = "from" if direction == "ingress" else "to"
        peers = tuple(
            peer for number, one in enumerate(_peers(said)) for peer in self._peer((*path, field, number), one)
        )
        rule = Rule(path, peers, None, said.action)
        if not said.protocols:
            return rule
        destinations = self.selected if direction == "ingress" else rule.pods
        ports = tuple(
            port
            for number, one in enumerate(said.protocols)
            for port in _ports((*path, "protocols", number), one, destinations)
        )
        return msgspec.structs.replace(rule, ports=ports)

    def _peer(self, path: Path, peer: AnyPeer) -> Iterator[Peer]:
        """One, or one for each network."""
        if peer.namespaces is not None or peer.pods is not None:
            yield Peer(path, self._pods(peer), selector=_said(peer))
        if isinstance(peer, ClusterNetworkPolicyEgressPeer):
            for number, text in enumerate(peer.networks):
                yield Peer((*path, "networks", number), {}, Block(api_network(text, strict=False)))
            for node in self._nodes(peer).values():
                yield from (Peer((*path, "nodes"), {}, Block(network(address))) for address in node.addresses)

    def _pods(self, peer: AnyPeer | ClusterNetworkPolicySubject) -> Ends:
        if peer.namespaces is not None:
            return self.selection.pods_of(peer.namespaces, None)
        if peer.pods is not None:
            return self.selection.pods_of(peer.pods.namespaceSelector, peer.pods.podSelector)
        return NONE

    def _nodes(self, peer: AnyPeer) -> Ends:
        """The nodes that a peer selects, as ends by their names."""
        wanted: LabelSelector | None = getattr(peer, "nodes", None)
        if wanted is None:
            return NONE
        nodes = sorted(self.selection.snapshot.all(Node).items())
        return {
            key: End(node.name, tuple(map(same, node.addresses)), None, node.name, True)
            for key, node in nodes
            if wanted.matches(node.metadata.labels)
        }


def _subject(one: ClusterNetworkPolicySubject) -> str:
    """Its selectors, as Calico has them."""
    if one.pods is not None:
        return calico_words.subject(one.pods.namespaceSelector, one.pods.podSelector)
    return calico_words.subject(one.namespaces, None) if one.namespaces is not None else ""


def _said(one: AnyPeer) -> str:
    if one.pods is not None:
        return calico_words.peer("", one.pods.namespaceSelector, one.pods.podSelector)
    return calico_words.spaces(one.namespaces) if one.namespaces is not None else ""


def _peers(rule: AnyRule) -> tuple[AnyPeer, ...]:
    return rule.from_ if isinstance(rule, ClusterNetworkPolicyIngressRule) else rule.to


def _ports(path: Path, protocol: ClusterNetworkPolicyProtocol, destinations: Ends) -> Iterator[Port]:
    """One; of a name one for each protocol, as it is a container port's of any."""
    if protocol.destinationNamedPort:
        for one in PROTOCOLS:
            yield named_port(path, one, protocol.destinationNamedPort, destinations)
    for one, said in zip(PROTOCOLS, (protocol.tcp, protocol.udp, protocol.sctp), strict=True):
        if said is None:
            continue
        port = said.destinationPort
        if port is None:
            yield PortRange(path, one)
        elif port.range is not None:
            yield PortRange(path, one, port.range.start, port.range.end)
        else:
            yield PortRange(path, one, port.number, port.number)
