"""Who may reach whom, of many: what `verdict.allowed` says of each pair, for sets of ends at once.

A set of ends is an integer with a bit for each. Pods that one policy selects share what it lets through, so that a
matrix of 500 pods costs what the policies cost and not what the pairs do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from k8snetlab.policies.shapes import Direction, End, NamedPort, Port, PortRange, Resolved, Rule, Tier
from k8snetlab.policies.verdict import is_own_node

At = tuple[str, int]
"""Protocol and port."""


class Check(msgspec.Struct, frozen=True):
    """May `from` reach `to` at a port? Both `ingress`, by the policies of `to`, and `egress`, by those of `from`."""

    from_: str = msgspec.field(name="from")
    """A pod as namespace/name, or a place that was asked for."""
    to: str
    """The other end, alike."""
    protocol: str
    """TCP, UDP or SCTP."""
    port: int
    """The number, at the pod: a Service's `targetPort`."""
    ingress: bool
    """Whether the policies of `to` let it in."""
    egress: bool
    """Whether the policies of `from` let it out."""
    allowed: bool
    """Whether both do."""


class PolicyMatrix(msgspec.Struct, frozen=True, omit_defaults=True):
    """All pairs at every port asked for, each end with itself too."""

    checks: tuple[Check, ...]
    """By port, then by `from`, then by `to`, in the order of the names."""
    withoutEffect: str = ""
    """Where nobody brings policies into the kernel (networkPolicy.controller none): that it is so, in a sentence."""


def matrix(resolved: Resolved, ends: Sequence[End], ports: Iterable[At]) -> PolicyMatrix:
    """Every end against every end."""
    names = [end.name for end in ends]
    checks: list[Check] = []
    for protocol, port in ports:
        into, out = Reach(resolved, ends).at((protocol, port))
        for source, name in enumerate(names):
            outward = out[source]
            for target, other in enumerate(names):
                ingress = into[target] >> source & 1 == 1
                egress = outward >> target & 1 == 1
                checks.append(Check(name, other, protocol, port, ingress, egress, ingress and egress))
    return PolicyMatrix(tuple(checks))


class Reach:
    """Which of some ends may reach which."""

    def __init__(self, resolved: Resolved, ends: Sequence[End]) -> None:
        self.resolved, self.ends = resolved, ends
        self.all = (1 << len(ends)) - 1
        self._bits = {end.key: 1 << number for number, end in enumerate(ends) if end.key is not None}
        self._peers: dict[tuple[int, int, bool], tuple[int, int]] = {}
        self._sums: dict[tuple[int, At], int] = {}

    def at(self, at: At) -> tuple[list[int], list[int]]:
        """For each end, in their order: who may come in by its policies, and where its policies let it go."""
        self._sums.clear()
        return [self._into(n, end, at) for n, end in enumerate(self.ends)], [
            self._out(n, end, at) for n, end in enumerate(self.ends)
        ]

    def _into(self, number: int, target: End, at: At) -> int:
        free = 1 << number
        for place, end in enumerate(self.ends):
            if is_own_node(end, target):
                free |= 1 << place
        return free | self._judged(target, "ingress", lambda rule: self._inward(rule, target, at))

    def _out(self, number: int, source: End, at: At) -> int:
        return 1 << number | self._judged(source, "egress", lambda rule: self._outward(rule, at))

    def _judged(self, pod: End, direction: Direction, hit: Callable[[Rule], int]) -> int:
        """The ends that the tiers of one pod let pass; `hit` are those that a rule matches."""
        policies = self.resolved.by_pod.get(pod.key, ()) if pod.key is not None and not pod.host else ()
        mine: dict[Tier, list[tuple[Rule, ...]]] = {"Admin": [], "NetworkPolicy": [], "Baseline": []}
        for policy in policies:
            if (rules := policy.rules(direction)) is not None:
                mine[policy.tier].append(rules)
        accepted, left = _sifted(mine["Admin"], self.all, hit)
        if isolating := mine["NetworkPolicy"]:
            found = 0
            for rules in isolating:
                for rule in rules:
                    found |= hit(rule)
            return accepted | left & found
        more, left = _sifted(mine["Baseline"], left, hit)
        return accepted | more | left

    def _inward(self, rule: Rule, target: End, at: At) -> int:
        if rule.ports is None or any(_at(port, at, target) for port in rule.ports):
            return sum(self._of(rule, target.family, inward=True))
        return 0

    def _outward(self, rule: Rule, at: At) -> int:
        key = (id(rule), at)
        if key not in self._sums:
            self._sums[key] = self._going(rule, at)
        return self._sums[key]

    def _going(self, rule: Rule, at: At) -> int:
        pods, others = self._of(rule, 0)
        if rule.ports is None or any(isinstance(one, PortRange) and _at(one, at) for one in rule.ports):
            return pods | others
        found = 0
        for port in rule.ports:
            if isinstance(port, NamedPort) and port.protocol == at[0]:
                named = (self._bits.get(key, 0) for key, numbers in port.numbers.items() if at[1] in numbers)
                found |= sum(named) & (self.all if rule.peers is None else pods)
        return found

    def _of(self, rule: Rule, family: int, inward: bool = False) -> tuple[int, int]:
        """The ends that are peers of a rule: those that its selectors match, and the others, by their addresses.
        `family`: of which IP version those are; 0: each end's first. `inward`: as senders."""
        key = (id(rule), family, inward)
        if key not in self._peers:
            if rule.peers is None:
                self._peers[key] = (0, self.all)
            else:
                pods = sum(self._bits.get(pod, 0) for pod in rule.pods)
                blocks = rule.blocks
                inside = (
                    1 << number
                    for number, end in enumerate(self.ends)
                    if any(block.has(_address(end, family or end.family, inward)) for block in blocks)
                )
                self._peers[key] = (pods, sum(inside) & ~pods)
        return self._peers[key]


def _address(end: End, family: int, inward: bool) -> str:
    return end.sender(family) if inward else end.address(family)


def _sifted(policies: Iterable[tuple[Rule, ...]], asked: int, hit: Callable[[Rule], int]) -> tuple[int, int]:
    """Of the ends that a tier is asked about those that it accepts, and those of which it says nothing or passes on."""
    accepted = passed = 0
    for rules in policies:
        for rule in rules:
            found = hit(rule) & asked
            asked &= ~found
            if rule.action == "Accept":
                accepted |= found
            elif rule.action == "Pass":
                passed |= found
    return accepted, asked | passed


def _at(port: Port, at: At, target: End | None = None) -> bool:
    if port.protocol != at[0]:
        return False
    if isinstance(port, PortRange):
        return port.first <= at[1] <= port.last
    return target is not None and target.key is not None and at[1] in port.numbers.get(target.key, ())
