"""The chains of one node as a tree, from where packets enter to where their fate is decided, with counters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Literal

import msgspec

from k8snetlab.dataplane.names import (
    KUBE_EXT,
    KUBE_EXTERNAL_SERVICES,
    KUBE_FW,
    KUBE_MARK,
    KUBE_NODEPORTS,
    KUBE_PROXY_FIREWALL,
    KUBE_SEP,
    KUBE_SERVICES,
    KUBE_SVC,
    KUBE_SVL,
    KUBE_XLB,
)
from k8snetlab.dataplane.rules import BUILT_IN, ChainKey, Rules
from k8snetlab.iptables.syntax import RuleSyntaxError, canonical, parse
from k8snetlab.trace.meaning import Facts, endpoints, meaning, purpose

Counters = Mapping[ChainKey, tuple[tuple[int, int], ...]]
SHARED = (
    ChainKey("nat", KUBE_SERVICES),
    ChainKey("nat", KUBE_NODEPORTS),
    ChainKey("filter", KUBE_SERVICES),
    ChainKey("filter", KUBE_EXTERNAL_SERVICES),
    ChainKey("filter", KUBE_PROXY_FIREWALL),
    ChainKey("filter", KUBE_NODEPORTS),
)
"""The chains with a row of every Service."""
OF_A_SERVICE = (KUBE_SVC, KUBE_SVL, KUBE_EXT, KUBE_XLB, KUBE_FW, KUBE_SEP)


class Rule(msgspec.Struct, frozen=True):
    """A rule with what it has counted, and those of the chain that it jumps to."""

    number: int
    """Its place in the chain, from 1."""
    rule: str
    """As iptables-save prints it, without `-A CHAIN`."""
    meaning: str
    """What it does, in a sentence."""
    packets: int
    """That matched so far."""
    bytes: int
    """That matched so far."""
    leads: str = ""
    """The chain that it jumps to, "" for none."""
    chain: Literal["", "above", "empty"] = ""
    """That chain's rules are shown above already, or there are none."""
    rules: tuple[Rule, ...] = ()
    """That chain's rules, where they are part of this tree."""


class Chain(msgspec.Struct, frozen=True):
    """A chain at which a tree begins."""

    table: str
    """filter, nat, mangle or raw."""
    chain: str
    """Its name."""
    purpose: str
    """What it is for, in a few words."""
    rules: tuple[Rule, ...]
    """Those of it that belong to the tree, in their order."""


class Difference(msgspec.Struct, frozen=True):
    """A rule that only one of two nodes has in a chain."""

    table: str
    """filter, nat, mangle or raw."""
    chain: str
    """The chain's name."""
    first: bool
    """Whether it stands on the first of the two nodes, else on the other one."""
    rule: str
    """As iptables-save prints it, without `-A CHAIN`."""
    meaning: str
    """What it does, in a sentence."""


def of_service(
    chains: Mapping[ChainKey, Rules],
    counters: Counters,
    service: str,
    own: Collection[str],
    known: Mapping[str, str],
) -> tuple[Chain, ...]:
    """The tree of "namespace/name": its rows in the shared chains and what they lead to.

    `own` are the names that the Service's own chains have: those that no rule leads to any more stand at the end.
    """
    grower = _Grower(chains, counters, known, lambda name: name.startswith(OF_A_SERVICE))
    found = [grower.chain(key, lambda rule: belongs(rule, service)) for key in SHARED if key in chains]
    lost = [ChainKey("nat", name) for name in own if ChainKey("nat", name) in chains and name not in grower.shown]
    found += [grower.chain(key, why="no rule leads here") for key in lost if key.chain not in grower.shown]
    return tuple(chain for chain in found if chain.rules)


def whole(chains: Mapping[ChainKey, Rules], counters: Counters, known: Mapping[str, str]) -> tuple[Chain, ...]:
    """The frame: the built-in chains that hold rules, table by table, and what they lead to, short of the Services'
    own chains. Chains that nothing leads to stand at the end."""
    grower = _Grower(chains, counters, known, lambda name: not name.startswith((*OF_A_SERVICE, KUBE_MARK)))
    order = [key for name in BUILT_IN for key in chains if key.chain == name]
    found = [grower.chain(key) for key in sorted(order, key=lambda k: k.table) if chains[key]]
    rest = [key for key in chains if key.chain not in BUILT_IN and not key.chain.startswith(OF_A_SERVICE)]
    found += [grower.chain(key) for key in rest if key.chain.startswith(KUBE_MARK)]
    lost = [key for key in rest if key not in grower.reached]
    found += [grower.chain(key, why="no rule leads here" if chains[key] else "") for key in lost]
    return tuple(found)


def belongs(rule: str, service: str) -> bool:
    """Whether a row of a shared chain is this Service's: its comment begins with "namespace/name" or
    "namespace/name:port"."""
    try:
        first = parse(rule).comment.partition(" ")[0]
    except RuleSyntaxError:
        return False
    return first == service or first.startswith(f"{service}:")


def differences(
    one: Mapping[ChainKey, Rules],
    other: Mapping[ChainKey, Rules],
    known: Mapping[str, str],
    service: str = "",
) -> tuple[Difference, ...]:
    """What stands on one of two nodes only, however it is written; with `service`, of that Service alone."""
    sides = [_selected(chains, service) for chains in (one, other)]
    facts = [Facts(endpoints(chains), known) for chains in (one, other)]
    found: list[Difference] = []
    for key in dict.fromkeys((*sides[0], *sides[1])):
        held = [{canonical(rule): rule for rule in side.get(key, ())} for side in sides]
        for first in (True, False):
            mine, theirs = held if first else held[::-1]
            about = facts[0 if first else 1]
            found += [
                Difference(key.table, key.chain, first, rule, meaning(key, rule, about))
                for normal, rule in mine.items()
                if normal not in theirs
            ]
    return tuple(found)


def _selected(chains: Mapping[ChainKey, Rules], service: str) -> dict[ChainKey, Rules]:
    if not service:
        return dict(chains)
    selected = {key: tuple(r for r in chains.get(key, ()) if belongs(r, service)) for key in SHARED}
    pending = [name for rules in selected.values() for rule in rules if (name := _leads(rule))]
    while pending:
        key = ChainKey("nat", pending.pop())
        if key in chains and key not in selected and key.chain.startswith(OF_A_SERVICE):
            selected[key] = chains[key]
            pending += [name for rule in chains[key] if (name := _leads(rule))]
    return selected


class _Grower:
    """Grows trees out of the chains; each chain's rules are shown once."""

    def __init__(
        self,
        chains: Mapping[ChainKey, Rules],
        counters: Counters,
        known: Mapping[str, str],
        enters: Callable[[str], bool],
    ) -> None:
        self._chains, self._counters, self._enters = chains, counters, enters
        self._facts = Facts(endpoints(chains), known)
        self.reached: set[ChainKey] = set()

    @property
    def shown(self) -> set[str]:
        return {key.chain for key in self.reached}

    def chain(self, key: ChainKey, wanted: Callable[[str], bool] = lambda _: True, why: str = "") -> Chain:
        self.reached.add(key)
        words = "; ".join(filter(None, (purpose(key), why)))
        return Chain(key.table, key.chain, words, tuple(self._rules(key, wanted)))

    def _rules(self, key: ChainKey, wanted: Callable[[str], bool] = lambda _: True) -> Iterator[Rule]:
        counted = self._counters.get(key, ())
        for number, rule in enumerate(self._chains[key], 1):
            if not wanted(rule):
                continue
            packets, octets = counted[number - 1] if number <= len(counted) else (0, 0)
            leads = _leads(rule)
            to = ChainKey(key.table, leads)
            meant = meaning(key, rule, self._facts)
            row = Rule(number, rule, meant, packets, octets, leads if to in self._chains else "")
            if to in self._chains:
                row = self._led(row, to)
            yield row

    def _led(self, row: Rule, to: ChainKey) -> Rule:
        """The rule with what stands in the chain it leads to."""
        if not self._chains[to]:
            self.reached.add(to)
            return msgspec.structs.replace(row, chain="empty")
        if not self._enters(to.chain):
            return row
        if to in self.reached:
            return msgspec.structs.replace(row, chain="above")
        self.reached.add(to)
        return msgspec.structs.replace(row, rules=tuple(self._rules(to)))


def _leads(rule: str) -> str:
    """The chain or target that a rule leads to."""
    try:
        target = parse(rule).target
    except RuleSyntaxError:
        return ""
    return target.name if target else ""
