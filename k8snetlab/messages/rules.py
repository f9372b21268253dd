"""rules: a node's iptables chains as a tree, the difference between two nodes, and the chains as they are."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from k8snetlab.dataplane.rules import ChainKey, Family
from k8snetlab.dataplane.rules import Rules as RuleTexts
from k8snetlab.messages.verb import Call, OfNode
from k8snetlab.trace.branches import Chain, Counters, Difference


class RulesQuestion(msgspec.Struct, frozen=True):
    """Which rules are meant."""

    node: str = ""
    """A node's name; "": the machine's own, where nodes are namespaces the first one."""
    service: str = ""
    """A Service, also as NAMESPACE/NAME; "" for the frame of all chains."""
    family: str = "ipv4"
    """ipv4 or ipv6."""


class DifferenceQuestion(msgspec.Struct, frozen=True):
    """Which rules are to be compared."""

    node: str
    """A node's name."""
    other: str
    """Another node's name."""
    service: str = ""
    """A Service, also as NAMESPACE/NAME; "" for all chains."""
    family: str = "ipv4"
    """ipv4 or ipv6."""


class ChainsQuestion(msgspec.Struct, frozen=True):
    """Which chains are meant."""

    node: str
    """A node's name."""
    family: str = "ipv4"
    """ipv4 or ipv6."""


class RuleTree(msgspec.Struct, frozen=True):
    """A node's rules, from where packets come in."""

    node: str
    """Whose they are."""
    service: str
    """ "namespace/name" of the Service whose rules these are; "" for the frame of all chains."""
    family: Family
    """ipv4 (iptables) or ipv6 (ip6tables)."""
    variant: str
    """Which iptables holds them: nft or legacy."""
    chains: tuple[Chain, ...]
    """The chains at which a tree begins; none where the Service has no rule here."""
    proxy: str = "iptables"
    """Who writes the node's rules of Services: iptables, the lab's own kube-proxy, or external, a guest."""


class RulesDifference(msgspec.Struct, frozen=True):
    """What stands on one of two nodes only, however it is written."""

    node: str
    """Always "": `nodes` are the two."""
    service: str
    """ "namespace/name" of the Service whose rules are compared; "" for all."""
    family: Family
    """ipv4 (iptables) or ipv6 (ip6tables)."""
    variant: str
    """Which iptables holds the first node's rules: nft or legacy."""
    nodes: tuple[str, str]
    """The first node and the other one."""
    differences: tuple[Difference, ...]
    """Chain by chain; none where the nodes are alike."""


class CountedChain(msgspec.Struct, frozen=True, array_like=True):
    """A chain as the kernel holds it: a list of its four fields."""

    table: str
    """filter, nat, mangle or raw."""
    chain: str
    """Its name."""
    rules: RuleTexts
    """As iptables-save prints them, without `-A CHAIN`."""
    counters: tuple[tuple[int, int], ...]
    """Packets and bytes of each rule."""


class Chains(msgspec.Struct, frozen=True):
    """A node's chains of one family, with what each rule has counted."""

    node: str
    """Whose they are."""
    variant: str
    """Which iptables holds them: nft or legacy."""
    chains: tuple[CountedChain, ...]
    """All chains of all tables."""

    @staticmethod
    def of(node: str, variant: str, rules: Mapping[ChainKey, RuleTexts], counters: Counters) -> Chains:
        held = (CountedChain(*key, texts, counters.get(key, ())) for key, texts in rules.items())
        return Chains(node, variant, tuple(held))

    @property
    def rules(self) -> Mapping[ChainKey, RuleTexts]:
        return {ChainKey(chain.table, chain.chain): chain.rules for chain in self.chains}

    @property
    def counters(self) -> Counters:
        return {ChainKey(chain.table, chain.chain): chain.counters for chain in self.chains}


RULES: Call[RulesQuestion, RuleTree] = Call("rules", "GET", "rules", RulesQuestion, RuleTree, OfNode(), group=True)
DIFFERENCE: Call[DifferenceQuestion, RulesDifference] = Call(
    "rules --diff", "GET", "rules/difference", DifferenceQuestion, RulesDifference, group=True
)
CHAINS: Call[ChainsQuestion, Chains] = Call("chains", "GET", "chains", ChainsQuestion, Chains, OfNode())
"""For another machine's comparison of rules."""
