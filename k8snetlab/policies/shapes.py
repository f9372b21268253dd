"""Policies with every selector and name answered, as values that are never changed.

`Resolved.of(pod)` is what a data plane asks: which NetworkPolicies a pod's ingress and egress are judged by, None where
the pod is not isolated in that direction. Of those everything is or'ed: a packet passes when one rule of one applied
policy matches its peer and its port. Before them come the rules of ClusterNetworkPolicies of tier Admin, and after
them, where none isolates the pod, those of tier Baseline (`Resolved.tier`): there the first rule that matches decides.
Source: Kubernetes API reference, networking/v1 NetworkPolicy; network-policy-api, apis/v1alpha2.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal

import msgspec

from k8snetlab.api.snapshot import Key
from k8snetlab.api.words import Path

Direction = Literal["ingress", "egress"]
Tier = Literal["Admin", "NetworkPolicy", "Baseline"]
Action = Literal["Accept", "Deny", "Pass"]
"""What a rule does with what it matches; of a NetworkPolicy it accepts. What is passed is for the next tier."""
Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
FIRST, LAST = 1, 65535
"""The numbers that a port can have."""


class End(msgspec.Struct, frozen=True):
    """One end of a connection. A pod has a `key`; a node has none, and `node` is its own name; outside has neither.

    `addresses` are those at which it is reached, at most one a family (a pod may have none yet); `senders` those that
    its own packets are seen with, where they are others: a node's come through a tunnel, but for those to the nodes
    `beside` it. `host`: a pod in its node's
    network, whose address is the node's; no selector of a policy sees it. `ports` are the numbers behind the names of
    a pod's container ports, by (protocol, name).
    """

    name: str
    addresses: tuple[str, ...] = ()
    key: Key | None = None
    node: str = ""
    host: bool = False
    ports: Mapping[tuple[str, str], tuple[int, ...]] = {}
    senders: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    @property
    def family(self) -> int:
        """The IP version of its first address; 4 where it has none."""
        return 6 if self.addresses and ":" in self.addresses[0] else 4

    def address(self, family: int) -> str:
        """Its address of IP version 4 or 6, "" where it has none."""
        return _of_family(self.addresses, family)

    def sender(self, family: int, node: str) -> str:
        """The address that its packets of IP version 4 or 6 come to a node with, "" where it has none."""
        return _of_family(self.addresses if node in self.beside else self.senders or self.addresses, family)


def _of_family(addresses: tuple[str, ...], family: int) -> str:
    return next((one for one in addresses if (":" in one) == (family == 6)), "")


Ends = Mapping[Key, End]
"""Pods by (namespace, name), sorted."""


class Block(msgspec.Struct, frozen=True):
    """An ipBlock: the addresses of `network` without those of `excepts`, which lie inside it."""

    network: Network
    excepts: tuple[Network, ...] = ()

    def has(self, address: str) -> bool:
        if not address:
            return False
        ip = _parsed(address)
        return ip in self.network and not any(ip in part for part in self.excepts)


@lru_cache(maxsize=1 << 14)
def _parsed(address: str) -> Address:
    return ip_address(address)


class Peer(msgspec.Struct, frozen=True):
    """One item of `from` or `to`: the pods that its selectors match (both of them, where both are said), or a block.
    `path` is where it stands in the policy: ("spec", "ingress", 0, "from", 1). `selector` are those as Calico has them,
    in one (`calico_words`)."""

    path: Path
    pods: Ends = {}
    block: Block | None = None
    selector: str = ""


class PortRange(msgspec.Struct, frozen=True):
    """Ports `first` to `last` of a protocol (TCP, UDP, SCTP), both included; FIRST to LAST is the whole protocol."""

    path: Path
    protocol: str
    first: int = FIRST
    last: int = LAST


class NamedPort(msgspec.Struct, frozen=True):
    """A port by its name, with its numbers at each destination pod that has it: of ingress those are the pods that the
    policy selects, of egress the rule's peers that are pods (all pods, where the rule names no peers). An address of
    an ipBlock has no names."""

    path: Path
    protocol: str
    name: str
    numbers: Mapping[Key, tuple[int, ...]]


Port = PortRange | NamedPort


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
    what has changed."""

    policies: Mapping[Key, Policy]
    pods: Ends
    by_pod: Mapping[Key, tuple[Policy, ...]]

    def of(self, pod: Key) -> Isolation:
        """What a pod is judged by; OPEN for one that no NetworkPolicy selects, that is unknown or has hostNetwork."""
        policies = [one for one in self.by_pod.get(pod, ()) if one.tier == "NetworkPolicy"]
        if not policies:
            return OPEN
        return Isolation(
            tuple(Applied(p, _numbered(p.ingress, pod)) for p in policies if p.ingress is not None) or None,
            tuple(Applied(p, p.egress) for p in policies if p.egress is not None) or None,
        )

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
