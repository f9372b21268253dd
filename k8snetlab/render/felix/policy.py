"""One policy's chains, cali-pi- and cali-po-, and the ipsets that they look into.

Source: Calico felix/rules/policy.go (PolicyToIptablesChains).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from k8snetlab.api.words import Path
from k8snetlab.dataplane import felix_names as names
from k8snetlab.dataplane.rules import Family, Rules
from k8snetlab.dataplane.sets import IPSet
from k8snetlab.policies.calico_shapes import CalicoPolicy
from k8snetlab.policies.shapes import Direction, Policy
from k8snetlab.render.felix import marks, own, rules
from k8snetlab.render.felix.clauses import clauses
from k8snetlab.render.felix.hashed import Line, hashed


class PolicyRules(msgspec.Struct, frozen=True):
    """One direction of a policy in one family. `of_all` are the ports by name, of every pod, that it looks for: their
    sets are nobody's alone. `paths` are the rules of the policy that the chain's rules are made of, by those."""

    chain: str
    rules: Rules
    sets: tuple[IPSet, ...] = ()
    of_all: frozenset[tuple[str, str]] = frozenset()
    paths: Mapping[str, Path] = {}


def render(policy: Policy | CalicoPolicy, direction: Direction, family: Family) -> PolicyRules:
    """The same value for the same policy."""
    return _rendered(_Asked(policy, direction, family))


class _Asked:
    """A policy by its identity."""

    __slots__ = ("direction", "family", "policy")

    def __init__(self, policy: Policy | CalicoPolicy, direction: Direction, family: Family) -> None:
        self.policy, self.direction, self.family = policy, direction, family

    def __hash__(self) -> int:
        return hash((id(self.policy), self.direction, self.family))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Asked) and (
            other.policy is self.policy and other.direction == self.direction and other.family == self.family
        )


@lru_cache(maxsize=1 << 13)
def _rendered(asked: _Asked) -> PolicyRules:
    chain = names.policy_chain(asked.policy.key, asked.direction)
    policy, way = asked.policy, asked.direction
    meant = own.clauses(policy, way) if isinstance(policy, CalicoPolicy) else clauses(policy, way)
    said = [(line, one) for one in meant for line in rules.lines(one, asked.family)]
    used = {id(one): one for _, one in said}.values()
    while said and said[-1][0].action == marks.RETURN:
        said.pop()
    comment = names.policy_comment(asked.policy.key, asked.direction)
    lines = [line for line, _ in said] or [Line()]
    lines[0] = lines[0]._replace(comments=(comment,))
    made = hashed(chain, lines)
    sets = {one.name: one for rule in used for one in rules.sets(rule, asked.family)}
    return PolicyRules(
        chain,
        made,
        tuple(sets.values()),
        frozenset(port for rule in used for port in rules.of_all(rule)),
        {text: rule.path for text, (_, rule) in zip(made, said, strict=False)},
    )
