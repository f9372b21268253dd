"""What stands in the place of a policy's or a pod's rules that the kernel refuses: nothing is open for want of them.

A policy that lets in, or out, does so less. A rule that would deny, or leave it to the next tier, denies all. A pod
that policies select is closed but to its node and to answers; one that none selects is open, as it is without policies.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping

import msgspec

from k8snetlab.dataplane.names import (
    ALLOWED_MARK,
    KUBE_CNPLCY,
    KUBE_CNPLCY_DENY,
    KUBE_NWPLCY_COMMON,
    KUBE_POD_FW,
    KUBE_ROUTER,
    KUBE_ROUTER_CHAINS,
    SHARED_BY_POLICIES,
    is_one_policys,
)
from k8snetlab.dataplane.rules import ChainKey, Rules, RuleSet

_ACCEPTS = f"mark {ALLOWED_MARK:#x}/{ALLOWED_MARK:#x}"
_DENIED = f"-j {KUBE_CNPLCY_DENY}"
_DROP = "-j DROP"
_MODULES = re.compile(r" ?-[mj] (\S+)")
_JUMP = re.compile(r"-j (\S+)")
_COMMENT = re.compile(r'--comment (?:"[^"]*"|\S+)')


def is_pods(chain: str) -> bool:
    """Whether it is of pods, each alone or all together."""
    return chain.startswith((KUBE_POD_FW, KUBE_ROUTER)) or chain in SHARED_BY_POLICIES


def said(chain: str) -> str:
    """What comes of it that a chain's rules are refused."""
    return "its policy allows nothing" if is_one_policys(chain) else "pods that policies select are closed"


def without(rules: RuleSet, refused: Container[str]) -> RuleSet:
    """Without the rules of policies that look into a refused set; one that would deny, or pass on, denies all."""
    chains = {
        key: tuple(filter(None, (_closed(rule, refused) for rule in held))) if is_one_policys(key.chain) else held
        for key, held in rules.chains.items()
    }
    return msgspec.structs.replace(rules, chains=chains)


def instead(rules: RuleSet, line: str) -> RuleSet | None:
    """Without what is refused by a line of iptables-restore ("-A CHAIN RULE"): a policy's chain, or all of pods' rules
    that ask for the same of the kernel. None where that leaves nothing to stand on."""
    chain, _, rule = line.removeprefix("-A ").partition(" ")
    if is_one_policys(chain):
        empty: dict[ChainKey, Rules] = {
            key: (_DENIED,) if chain.startswith(KUBE_CNPLCY) else () for key in rules.chains if key.chain == chain
        }
        return _with(rules, empty)
    if not is_pods(chain) or not rule:
        return None
    kind, changed = _kind(rule), dict[ChainKey, Rules]()
    for key, held in rules.chains.items():
        if any(_kind(one) == kind for one in held) and not is_one_policys(key.chain):
            found = _pods(key.chain, held, kind)
            if found is None:
                return None
            changed[key] = found
    return _with(rules, changed) if changed else None


def _with(rules: RuleSet, chains: Mapping[ChainKey, Rules]) -> RuleSet:
    return msgspec.structs.replace(rules, chains={**rules.chains, **chains})


def _closed(rule: str, refused: Container[str]) -> str:
    sets = re.findall(r"--match-set (\S+) ", rule)
    if not any(name in refused for name in sets):
        return rule
    return "" if _ACCEPTS in rule else _DENIED


def _pods(chain: str, held: Rules, refused: frozenset[str]) -> Rules | None:
    """A chain of pods without what is refused; None where more would pass then."""
    left = tuple(rule for rule in held if _kind(rule) != refused)
    if chain.startswith(KUBE_POD_FW):
        if not any(is_one_policys(jump) for rule in held for jump in _JUMP.findall(rule)):
            return ()
        free = (KUBE_NWPLCY_COMMON, "ACCEPT")
        return (*(rule for rule in left if (jumps := _JUMP.findall(rule)) and jumps[-1] in free), _DROP)
    if chain == KUBE_CNPLCY_DENY:
        return (*(rule for rule in left if "REJECT" not in rule), _DROP)
    if chain.startswith(KUBE_ROUTER):
        # What is carried by a bridge is routed to the same chain by the rule for all packets of that address.
        gone = (rule for rule in held if _kind(rule) == refused)
        closed = all("--physdev-is-bridged" in rule or rule.endswith(("RETURN", "ACCEPT")) for rule in gone)
        return left if closed else None
    return left


def _kind(rule: str) -> frozenset[str]:
    """What a rule needs of the kernel: its matches and its target, where that is no chain."""
    found = _MODULES.findall(_COMMENT.sub("", rule))
    return frozenset(one for one in found if not one.startswith(KUBE_ROUTER_CHAINS))
