"""What stands in the place of Felix' rules that the kernel refuses: as `closing` for kube-router's.

A NetworkPolicy lets in, or out, less; a policy of another kind, which may deny, denies all. A pod that policies select
is closed but to its node and to answers; one that none selects is open. Of the nat table, what is refused is missing.
"""

from __future__ import annotations

import re
from collections.abc import Container

import msgspec

from k8snetlab.dataplane.names import CALI_CHAIN, CALI_PODS, is_one_policys
from k8snetlab.dataplane.rules import ChainKey, Rules, RuleSet

_DROP = "-j DROP"
_ALLOWING = "KubernetesNetworkPolicy "
"""How the comment begins on a policy that only allows."""
_COMMENT = re.compile(r'--comment (?:"[^"]*"|\S+)')
_NEEDS = re.compile(r" ?-[mj] (\S+)")
_SETS = re.compile(r"--match-set (\S+) ")
_POLICIES = re.compile(r"-j cali-[pg][io]-")
_NAT = ("cali-PREROUTING", "cali-POSTROUTING", "cali-nat-outgoing", "cali-fip-dnat", "cali-fip-snat")


def is_pods(chain: str) -> bool:
    """Whether it is of pods, each alone or all together."""
    return chain.startswith(CALI_CHAIN) and not is_one_policys(chain) and chain not in _NAT


def said(chain: str) -> str:
    """As `closing.said`."""
    if is_one_policys(chain):
        return "its policy allows nothing"
    return "pods that policies select are closed" if is_pods(chain) else "what it translates is not translated"


def without(rules: RuleSet, refused: Container[str]) -> RuleSet:
    """Without the rules of policies that look into a refused set; a policy that may deny, or pass on, denies all."""
    chains = {key: _without(held, refused) if is_one_policys(key.chain) else held for key, held in rules.chains.items()}
    return msgspec.structs.replace(rules, chains=chains)


def instead(rules: RuleSet, line: str) -> RuleSet | None:
    """As `closing.instead`."""
    chain, _, rule = line.removeprefix("-A ").partition(" ")
    if not chain.startswith(CALI_CHAIN) or not rule:
        return None
    changed = dict[ChainKey, Rules]()
    kind = _kind(rule)
    for key, held in rules.chains.items():
        if is_one_policys(chain):
            if key.chain == chain:
                changed[key] = () if _only_allows(held) else (_DROP,)
        elif not is_one_policys(key.chain) and any(_kind(one) == kind for one in held):
            found = _pods(key, held, kind)
            if found is None:
                return None
            changed[key] = found
    return msgspec.structs.replace(rules, chains={**rules.chains, **changed}) if changed else None


def _without(held: Rules, refused: Container[str]) -> Rules:
    left = tuple(rule for rule in held if not any(name in refused for name in _SETS.findall(rule)))
    if left == held:
        return held
    return left if _only_allows(held) else (_DROP,)


def _only_allows(held: Rules) -> bool:
    return bool(held) and f'--comment "{_ALLOWING}' in held[0]


def _pods(key: ChainKey, held: Rules, refused: frozenset[str]) -> Rules | None:
    """A chain without what is refused; None where more would pass then."""
    left = tuple(rule for rule in held if _kind(rule) != refused)
    if key.table == "nat":
        return left
    if key.chain.startswith(CALI_PODS):
        if not any(_POLICIES.search(rule) for rule in held):
            return ()
        return (*(rule for rule in left if rule.endswith("-j ACCEPT")), _DROP)
    gone = [rule for rule in held if rule not in left]
    if any("-wl-" in rule or "Unknown interface" in rule for rule in gone):
        return None
    if any("--match-set" in rule for rule in gone):
        # Where the lab's own nodes are not let in, what keeps out all others would cut them off.
        return tuple(rule for rule in left if "VXLAN" not in rule and "IPIP" not in rule)
    return left


def _kind(rule: str) -> frozenset[str]:
    """What a rule needs of the kernel: its matches and its target, where that is no chain."""
    found = _NEEDS.findall(_COMMENT.sub("", rule))
    return frozenset(one for one in found if not one.startswith(CALI_CHAIN))
