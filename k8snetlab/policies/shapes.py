"""Policies with every selector and name answered, as values that are never changed.

`Resolved.of(pod)` is what a data plane asks: which NetworkPolicies a pod's ingress and egress are judged by, None where
the pod is not isolated in that direction. Of those everything is or'ed: a packet passes when one rule of one applied
policy matches its peer and its port. Before them come the rules of ClusterNetworkPolicies of tier Admin, and after
them, where none isolates the pod, those of tier Baseline (`Resolved.tier`): there the first rule that matches decides.
Source: Kubernetes API reference, networking/v1 NetworkPolicy; network-policy-api, apis/v1alpha2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from k8snetlab.api.snapshot import Key
from k8snetlab.api.words import Path
from k8snetlab.policies.calico_shapes import CalicoPolicy
from k8snetlab.policies.ends import (
    FIRST,
    LAST,
    Address,
    Block,
    Direction,
    End,
    Ends,
    NamedPort,
    Network,
    Port,
    PortRange,
)

__all__ = [
    "FIRST",
    "LAST",
    "OPEN",
    "Action",
    "Address",
    "Applied",
    "Block",
    "Direction",
    "End",
    "Ends",
    "Isolation",
    "NamedPort",
    "Network",
    "Peer",
    "Policy",
    "Port",
    "PortRange",
    "Resolved",
    "Rule",
    "Tier",
    "named",
]

Tier = Literal["Admin", "NetworkPolicy", "Baseline"]
Action = Literal["Accept", "Deny", "Pass"]
"""What a rule does with what it matches; of a NetworkPolicy it accepts. What is passed is for the next tier."""


class Peer(msgspec.Struct, frozen=True):
    """One item of `from` or `to`: the pods that its selectors match (both of them, where both are said), or a block.
    `path` is where it stands in the policy: ("spec", "ingress", 0, "from", 1). `selector` are those as Calico has them,
    in one (`calico_words`)."""

    path: Path
    pods: Ends = {}
    block: Block | None = None
    selector: str = ""


class Rule(msgspec.Struct, frozen=True):
    """`peers` None is everybody, in the cluster and outside; `ports` None is every port of every protocol."""

    path: Path
    peers: tuple[Peer, ...] | None
    ports: tuple[Port, ...] | None
    action: Action = "Accept"

    @property
    def pods(self) -> Ends:
        """All pods that are peers, each once, sorted."""
        peers = [peer.pods for peer in self.peers or () if peer.pods]
        if len(peers) == 1:
            return peers[0]
        return dict(sorted((key, end) for pods in peers for key, end in pods.items()))

    @property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(peer.block for peer in self.peers or () if peer.block is not None)


class Policy(msgspec.Struct, frozen=True, eq=False):
    """One NetworkPolicy. `ingress` None: it says nothing of what comes in (policyTypes); () lets nothing in. `selected`
    are the pods it applies to, maybe none. `source` is where it was written ("file:line") or "".

    Or one ClusterNetworkPolicy, of another `tier`, whose key has no namespace: None where it has no rules, which are
    asked in their order, after those of policies with a lower `priority`.

    `selector` is what it selects pods by, as Calico has it."""

    key: Key
    source: str
    selected: Ends
    ingress: tuple[Rule, ...] | None
    egress: tuple[Rule, ...] | None
    tier: Tier = "NetworkPolicy"
    priority: int = 0
    selector: str = ""

    @property
    def name(self) -> str:
        return named(self.key)

    def rules(self, direction: Direction) -> tuple[Rule, ...] | None:
        return self.ingress if direction == "ingress" else self.egress


def named(key: Key) -> str:
    """A policy as people say it: namespace/name, and a ClusterNetworkPolicy by its name."""
    return "/".join(key) if key[0] else key[1]


class Applied(msgspec.Struct, frozen=True, eq=False):
    """A policy as it applies to one pod in one direction. Named ports of ingress have become numbers, those of this
    pod; a rule whose names the pod has none of stays, with ports () that match nothing."""

    policy: Policy
    rules: tuple[Rule, ...]


class Isolation(msgspec.Struct, frozen=True, eq=False):
    """The NetworkPolicies a pod is judged by, in the order of their keys; None: not isolated, everything passes."""

    ingress: tuple[Applied, ...] | None = None
    egress: tuple[Applied, ...] | None = None

    @property
    def sides(self) -> tuple[tuple[Direction, tuple[Applied, ...] | None], ...]:
        return ("ingress", self.ingress), ("egress", self.egress)


OPEN = Isolation()


class Resolved(msgspec.Struct, frozen=True, eq=False):
    """All policies of a snapshot. `pods` are all pods that have not ended, those with hostNetwork among them; `by_pod`
    the policies that select each, of any direction and tier, in the order of tiers and priorities. Of one whose
    selectors match the same ends as before, the value is the same object as in the Resolved before: `is` tells cheaply
    what has changed. `calico` are Calico's own policies, in the order in which they are asked, `calico_by_pod` those
    that select each pod; `felix`: whether it is Calico's Felix that enforces all."""

    policies: Mapping[Key, Policy]
    pods: Ends
    by_pod: Mapping[Key, tuple[Policy, ...]]
    calico: Mapping[Key, CalicoPolicy] = {}
    calico_by_pod: Mapping[Key, tuple[CalicoPolicy, ...]] = {}
    felix: bool = False

    def of(self, pod: Key) -> Isolation:
        """What a pod is judged by; OPEN for one that no NetworkPolicy selects, that is unknown or has hostNetwork."""
        policies = [one for one in self.by_pod.get(pod, ()) if one.tier == "NetworkPolicy"]
        if not policies:
            return OPEN
        return Isolation(
            tuple(Applied(p, _numbered(p.ingress, pod)) for p in policies if p.ingress is not None) or None,
            tuple(Applied(p, p.egress) for p in policies if p.egress is not None) or None,
        )

    def calico_of(self, pod: Key) -> tuple[CalicoPolicy, ...]:
        """Those of Calico's own policies that select a pod, of any direction, in their order."""
        return self.calico_by_pod.get(pod, ())

    def speaks_of(self, pod: Key | None) -> bool:
        """Whether any policy selects it."""
        return pod is not None and (pod in self.by_pod or pod in self.calico_by_pod)

    def has_tiers(self, pod: Key) -> bool:
        """Whether a ClusterNetworkPolicy is for it."""
        return any(one.tier != "NetworkPolicy" for one in self.by_pod.get(pod, ()))

    def tier(self, pod: Key, tier: Tier, direction: Direction) -> tuple[Applied, ...]:
        """The ClusterNetworkPolicies of a tier, the one that is asked first being the first."""
        mine = ((one, one.rules(direction)) for one in self.by_pod.get(pod, ()) if one.tier == tier)
        return tuple(
            Applied(one, _numbered(rules, pod) if direction == "ingress" else rules) for one, rules in mine if rules
        )


def _numbered(rules: tuple[Rule, ...], pod: Key) -> tuple[Rule, ...]:
    """The rules with the names of ports replaced by a pod's numbers."""
    if not any(isinstance(port, NamedPort) for rule in rules for port in rule.ports or ()):
        return rules
    found = []
    for rule in rules:
        ports: list[Port] = []
        for port in rule.ports or ():
            if isinstance(port, PortRange):
                ports.append(port)
            else:
                ports += [PortRange(port.path, port.protocol, n, n) for n in port.numbers.get(pod, ())]
        found.append(rule if rule.ports is None else Rule(rule.path, rule.peers, tuple(ports), rule.action))
    return tuple(found)
