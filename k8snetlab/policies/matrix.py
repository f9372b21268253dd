"""Who may reach whom, of many, and by which policy: what `verdict.allowed` says of each pair, for sets of ends at once.

A set of ends is an integer with a bit for each. Pods that one policy selects share what it lets through, so that a
matrix of 500 pods costs what the policies cost and not what the pairs do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from k8snetlab.api.snapshot import Key
from k8snetlab.policies.calico_order import in_direction
from k8snetlab.policies.calico_reach import CalicoReach
from k8snetlab.policies.calico_shapes import CalicoPolicy
from k8snetlab.policies.shapes import Block, Direction, End, NamedPort, Policy, Port, PortRange, Resolved, Rule, Tier

At = tuple[str, int]
"""Protocol and port."""


class Check(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
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
    ingressBy: tuple[str, ...] = ()
    """The policies that decide the ingress: those whose rules let it in, the one that denies it, or, where no rule of
    any lets it in, all that isolate `to`; left out where no policy has a say."""
    egressBy: tuple[str, ...] = ()
    """The same of the egress, by the policies of `from`."""


class PolicyMatrix(msgspec.Struct, frozen=True, omit_defaults=True):
    """All pairs at every port asked for, each end with itself too."""

    checks: tuple[Check, ...]
    """By port, then by `from`, then by `to`, in the order of the names."""
    withoutEffect: str = ""
    """Where nobody brings policies into the kernel (networkPolicy.controller none): that it is so, in a sentence."""


class Part(NamedTuple):
    """Some of the ends at the other side of one: `by` are the policies that allow them, or deny them."""

    ends: int
    allowed: bool
    by: tuple[str, ...] = ()


Judged = tuple[Part, ...]
"""What one end's policies say in one direction: no end is in two parts, and each is in one."""


def matrix(resolved: Resolved, ends: Sequence[End], ports: Iterable[At]) -> PolicyMatrix:
    """Every end against every end."""
    names = [end.name for end in ends]
    reach = Reach(resolved, ends)
    checks: list[Check] = []
    for protocol, port in ports:
        judged = reach.at((protocol, port))
        into, out = ([_spread(parts, len(ends)) for parts in side] for side in judged)
        for source, (name, outward) in enumerate(zip(names, out, strict=True)):
            for other, inward, (_, egress, by) in zip(names, into, outward, strict=True):
                _, ingress, of_target = inward[source]
                checks.append(Check(name, other, protocol, port, ingress, egress, ingress and egress, of_target, by))
    return PolicyMatrix(tuple(checks))


def _spread(parts: Judged, size: int) -> list[Part]:
    """The part of each end."""
    row = [parts[0]] * size
    for part in parts[1:]:
        bits = f"{part.ends:b}"[::-1]
        place = bits.find("1")
        while place >= 0:
            row[place] = part
            place = bits.find("1", place + 1)
    return row


class Reach:
    """Which of some ends may reach which."""

    def __init__(self, resolved: Resolved, ends: Sequence[End]) -> None:
        self.resolved, self.ends = resolved, ends
        self.all = (1 << len(ends)) - 1
        self._bits = {end.key: 1 << number for number, end in enumerate(ends) if end.key is not None}
        self._nodes: dict[str, int] = {}
        """What is always let in by the pods of each node."""
        for number, end in enumerate(ends):
            if end.key is None or end.host:
                self._nodes[end.node] = self._nodes.get(end.node, 0) | 1 << number
        self._peers: dict[tuple[int, int, str | None], tuple[int, int]] = {}
        self._blocks: dict[tuple[tuple[Block, ...], int, str | None], int] = {}
        self._same = not any(end.beside for end in ends)
        """Whether all nodes see an end's packets with the same address."""
        self._sums: dict[int, int] = {}
        self._calico = CalicoReach(ends)

    def at(self, at: At) -> tuple[list[Judged], list[Judged]]:
        """For each end, in their order: who may come in by its policies, and where its policies let it go."""
        self._sums.clear()
        return [self._into(n, end, at) for n, end in enumerate(self.ends)], [
            self._out(n, end, at) for n, end in enumerate(self.ends)
        ]

    def _into(self, number: int, target: End, at: At) -> Judged:
        free = 1 << number | (self._nodes.get(target.node, 0) if target.node else 0)
        if self._is_calicos(target, "ingress"):
            return self._ordered(target, "ingress", free, at)
        return self._judged(target, "ingress", free, lambda rule: self._inward(rule, target, at))

    def _out(self, number: int, source: End, at: At) -> Judged:
        if self._is_calicos(source, "egress"):
            return self._ordered(source, "egress", 1 << number, at)
        return self._judged(source, "egress", 1 << number, lambda rule: self._outward(rule, at))

    def _is_calicos(self, pod: End, direction: Direction) -> bool:
        """Whether one of Calico's own policies says something of a pod."""
        asked = self.resolved.calico_of(pod.key) if pod.key is not None and not pod.host else ()
        return any(one.rules(direction) is not None for one in asked)

    def _ordered(self, pod: End, direction: Direction, free: int, at: At) -> Judged:
        """`_judged`, where policies stand in Calico's order; what none of them decides is denied."""
        assert pod.key is not None

        def hit(rule: Rule) -> int:
            return self._inward(rule, pod, at) if direction == "ingress" else self._outward(rule, at)

        first, left = _sifted(self._of_tier(pod.key, "Admin", direction), direction, self.all & ~free, hit)
        parts, passed, names = [*first], list[Part](), list[str]()
        for one in in_direction(self.resolved, pod.key, direction):
            policy = one if isinstance(one, CalicoPolicy) else one.policy
            names.append(policy.name)
            for rule in policy.rules(direction) or ():
                if isinstance(rule, Rule):
                    found, action = hit(rule) & left, "Allow"
                elif rule.action == "Log":
                    continue
                else:
                    found, action = self._calico.hit(rule, pod, direction, at) & left, rule.action
                left &= ~found
                if found:
                    some = passed if action == "Pass" else parts
                    some.append(Part(found, action != "Deny", (policy.name,)))
        for part in passed:
            last, rest = _sifted(self._of_tier(pod.key, "Baseline", direction), direction, part.ends, hit)
            parts += [*last, Part(rest, True, part.by)]
        return (Part(free, True), *parts, Part(left, False, tuple(names)))

    def _of_tier(self, pod: Key, tier: Tier, direction: Direction) -> list[Policy]:
        policies = self.resolved.by_pod.get(pod, ())
        return [one for one in policies if one.tier == tier and one.rules(direction) is not None]

    def _judged(self, pod: End, direction: Direction, free: int, hit: Callable[[Rule], int]) -> Judged:
        """What the tiers of one pod say of all ends but those that are `free`; `hit` are those that a rule matches."""
        policies = self.resolved.by_pod.get(pod.key, ()) if pod.key is not None and not pod.host else ()
        mine: dict[Tier, list[Policy]] = {"Admin": [], "NetworkPolicy": [], "Baseline": []}
        for policy in policies:
            if policy.rules(direction) is not None:
                mine[policy.tier].append(policy)
        if not any(mine.values()):
            return (Part(self.all, True),)
        first, left = _sifted(mine["Admin"], direction, self.all & ~free, hit)
        if isolating := mine["NetworkPolicy"]:
            last = list(_allowing(isolating, direction, left, hit))
            left = 0
        else:
            last, left = _sifted(mine["Baseline"], direction, left, hit)
        return (Part(free | left, True), *first, *last)

    def _inward(self, rule: Rule, target: End, at: At) -> int:
        if rule.ports is None or any(_at(port, at, target) for port in rule.ports):
            return sum(self._of(rule, target.family, "" if self._same else target.node))
        return 0

    def _outward(self, rule: Rule, at: At) -> int:
        if id(rule) not in self._sums:
            self._sums[id(rule)] = self._going(rule, at)
        return self._sums[id(rule)]

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

    def _of(self, rule: Rule, family: int, inward: str | None = None) -> tuple[int, int]:
        """The ends that are peers of a rule: those that its selectors match, and the others, by their addresses.
        `family`: of which IP version those are; 0: each end's first. `inward`: as that node sees them as senders."""
        key = (id(rule), family, inward)
        if key not in self._peers:
            if rule.peers is None:
                self._peers[key] = (0, self.all)
            else:
                pods = sum(self._bits.get(pod, 0) for pod in rule.pods)
                self._peers[key] = (pods, self._inside(rule.blocks, family, inward) & ~pods)
        return self._peers[key]

    def _inside(self, blocks: tuple[Block, ...], family: int, inward: str | None) -> int:
        key = (blocks, family, inward)
        if key not in self._blocks:
            found = 0
            for number, end in enumerate(self.ends) if blocks else ():
                address = _address(end, family or end.family, inward)
                if any(block.has(address) for block in blocks):
                    found |= 1 << number
            self._blocks[key] = found
        return self._blocks[key]


def _address(end: End, family: int, inward: str | None) -> str:
    return end.address(family) if inward is None else end.sender(family, inward)


def _sifted(
    policies: Iterable[Policy], direction: Direction, asked: int, hit: Callable[[Rule], int]
) -> tuple[list[Part], int]:
    """Of the ends that a tier is asked about those that it accepts or denies, and those of which it says nothing or
    passes on."""
    parts: list[Part] = []
    passed = 0
    for policy in policies:
        for rule in policy.rules(direction) or ():
            found = hit(rule) & asked
            asked &= ~found
            if rule.action == "Pass":
                passed |= found
            elif found:
                parts.append(Part(found, rule.action == "Accept", (policy.name,)))
    return parts, asked | passed


def _allowing(
    policies: Sequence[Policy], direction: Direction, asked: int, hit: Callable[[Rule], int]
) -> Iterator[Part]:
    """NetworkPolicies: each end with all that allow it, or that isolate the pod where none does."""
    by: dict[tuple[str, ...], int] = {(): asked}
    for policy in policies:
        found = 0
        for rule in policy.rules(direction) or ():
            found |= hit(rule)
        split: dict[tuple[str, ...], int] = {}
        for names, ends in by.items():
            for some, who in ((ends & found, (*names, policy.name)), (ends & ~found, names)):
                if some:
                    split[who] = some
        by = split
    for names, ends in by.items():
        yield Part(ends, bool(names), names or tuple(policy.name for policy in policies))


def _at(port: Port, at: At, target: End | None = None) -> bool:
    if port.protocol != at[0]:
        return False
    if isinstance(port, PortRange):
        return port.first <= at[1] <= port.last
    return target is not None and target.key is not None and at[1] in port.numbers.get(target.key, ())
