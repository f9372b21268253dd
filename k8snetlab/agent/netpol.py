"""NetworkPolicies of one node, by whatever backend: sets before the rules that look into them, and away after those.

A set or a rule that the kernel refuses opens nothing (`agent/closing.py`): what stands of its policy lets in, or out,
less; where it is a pod's, that pod is closed, and none is plugged in that is new.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterator, Mapping
from typing import ClassVar, Protocol

from k8snetlab.agent.additions import AddedSets
from k8snetlab.agent.protocol import Manager
from k8snetlab.agent.table_part import RuleSets, TablePart, Write
from k8snetlab.api.core import Node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.names import is_host
from k8snetlab.dataplane.netns import NodeDataplane
from k8snetlab.dataplane.rules import Family, RuleDelta, RuleSet
from k8snetlab.dataplane.sets import IPSet, by_name
from k8snetlab.errors import KernelError
from k8snetlab.kernel import conntrack, fault, ipsets
from k8snetlab.kernel.iptables import Iptables, RestoreRefused
from k8snetlab.policies.established import Judge
from k8snetlab.policies.shapes import Resolved
from k8snetlab.render.netpol.node import resolved_of

TRIES = 64
"""Chains that are closed, one after the other, before all is refused."""
REST = 200
"""Looks at the sets are so many times apart as one takes."""


_SIX = ("inet6:", "cali60")
"""How the names of IPv6's sets begin."""


class Closes(Protocol):
    """As `closing` and `closing_felix` have them."""

    def is_pods(self, chain: str) -> bool: ...
    def without(self, rules: RuleSet, refused: Container[str]) -> RuleSet: ...
    def instead(self, rules: RuleSet, line: str) -> RuleSet | None: ...
    def said(self, chain: str) -> str: ...


class PolicyManager(Manager):
    """NetworkPolicies of a node. `PREFIXES` are how the names of its sets begin, of either family; `closes` says what
    stands in the place of rules that are refused."""

    PREFIXES: ClassVar[tuple[str, ...]]
    closes: ClassVar[Closes]

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.sets: tuple[IPSet, ...] = ()
        self._tables: dict[Family, PolicyPart] = {}
        self._looked, self._took = 0.0, 0.0
        self._unknown = False
        """It could not say what it wants."""
        self._judged: Resolved | None = None
        """By what connections were looked at last."""

    def wanted(self, snapshot: Snapshot) -> NodeDataplane | None:
        self.guards = self._unknown = True
        part = super().wanted(snapshot)
        self._unknown = False
        self.sets = part.sets if part else ()
        self.guards = bool(part and any(rules.chains for rules in part.rules))
        return part

    def table_part(self, iptables: Iptables) -> PolicyPart:
        part = PolicyPart(self, iptables, self.PREFIXES)
        self._tables[iptables.family] = part
        return part

    def settled(self, snapshot: Snapshot, namespace: str) -> None:
        """What is new has no rules where all were refused."""
        self.holds = self.guards and self.lets_none_in
        if self.guards and snapshot.lab.spec.networkPolicy.cutEstablished:
            self._cut(snapshot, namespace)

    def _cut(self, snapshot: Snapshot, namespace: str) -> None:
        """Connections that policies have let in, and would not any more."""
        resolved = resolved_of(snapshot)
        if self._judged is resolved or (node := snapshot.get(Node, self.node)) is None:
            return
        judge = Judge(resolved, node)
        for family in self._tables:
            fault.point()
            conntrack.forget(namespace, family, lambda flow: not judge.allows(*flow))
        self._judged = resolved

    @property
    def lets_none_in(self) -> bool:
        return self._unknown or any(part.lets_none_in for part in self._tables.values())

    def noticed_change(self) -> bool:
        """Whether somebody else has changed sets."""
        began = time.monotonic()
        if not self.sets or began - self._looked < REST * self._took:
            return False
        changed = any(part.sets_changed() for part in self._tables.values())
        self._looked, self._took = began, time.monotonic() - began
        return changed

    def drift(self) -> list[str]:
        return [line for part in self._tables.values() for line in part.drift()]

    def suspect(self) -> None:
        for part in self._tables.values():
            part.suspect()

    def note(self, namespace: str) -> None:
        """Before sets are made in the machine's own namespace."""
        if is_host(namespace) and AddedSets() not in self.around.owner.additions:
            self.around.owner.own_additions([AddedSets()])


class PolicyPart(TablePart):
    """The rules and sets of one IP family."""

    def __init__(self, manager: PolicyManager, iptables: Iptables, prefixes: tuple[str, ...]) -> None:
        """`prefixes` are how the names of its sets begin, of either family."""
        super().__init__(manager.name, iptables.family)
        self._manager, self._iptables = manager, iptables
        self._prefixes = tuple(p for p in prefixes if p.startswith(_SIX) == (self.family == "ipv6"))
        self._of: tuple[IPSet, ...] = ()
        self._own: dict[str, IPSet] = {}
        """Of the manager's sets those of this family."""
        self._sets: dict[str, IPSet] = {}
        self._standing: dict[str, IPSet] | None = None
        """What the kernel holds; None where that is to be read."""
        self._refused_sets: dict[str, KernelError] = {}
        self._left_out: dict[str, RestoreRefused] = {}
        """Chains that something else stands in the place of, by the rule that is refused of each."""

    @property
    def lets_none_in(self) -> bool:
        """Whether what is new would not be judged as policies say."""
        return bool(self.refused or self.unwanted) or any(map(self._manager.closes.is_pods, self._left_out))

    @property
    def failure(self) -> KernelError | None:
        if self.refused:
            return self.refused
        if self._refused_sets:
            return next(iter(self._refused_sets.values()))
        for chain, refusal in self._left_out.items():
            others = f" and {len(self._left_out) - 1} more" if len(self._left_out) > 1 else ""
            message = f"chain {chain}{others}: {self._manager.closes.said(chain)} while this is so: {refusal.message}"
            return KernelError(message, "it is tried again", refusal.line)
        return None

    def hurries(self, rules: RuleSets) -> bool:
        """Whether something is to be written at once: a pod must not be open for want of rules, nor closed."""
        return self._source != rules or self._mine() != self._sets

    _source: RuleSets | None = None

    def want(self, snapshot: Snapshot, rules: RuleSets) -> None:
        """Brings sets up to date: those that are new no rule asks yet."""
        self._sets = self._mine()
        self._bring()
        closed = tuple(self._closed_without(rules)) if self._refused_sets else rules
        self._source, self.wanted = rules, closed
        clean = self._taken is not None and not self.refused and not self._left_out
        self.delta = _delta(self._taken, closed) if clean and self._taken is not None else None

    def took(self, rules: RuleSets) -> None:
        super().took(rules)
        standing = self._standing or {}
        if stale := [name for name in standing if name not in self._sets]:
            for name in ipsets.destroy(self._iptables.namespace, stale):
                del standing[name]

    def succeeded(self) -> None:
        super().succeeded()
        self._left_out = {}

    def apart(self, write: Write) -> int:
        """Closes what has rules that are refused."""
        self._left_out, self.refused = {}, None
        trial = self.wanted
        while True:
            try:
                count = write(trial)
            except RestoreRefused as refusal:
                closed = self._closed(trial, refusal)
                if not closed or closed == trial or len(self._left_out) == TRIES:
                    self.refuse(refusal)
                    return write(self.before())
                self._left_out[refusal.line.removeprefix("-A ").partition(" ")[0]] = refusal
                trial = closed
            else:
                self.took(trial)
                return count

    def _closed(self, trial: RuleSets, refusal: RestoreRefused) -> RuleSets:
        """() where what is refused is no policy's and no pod's."""
        found = [self._manager.closes.instead(one, refusal.line) for one in trial]
        return tuple(one for one in found if one is not None) if all(found) else ()

    def _closed_without(self, rules: RuleSets) -> Iterator[RuleSet]:
        return (self._manager.closes.without(one, self._refused_sets) for one in rules)

    # --- sets ---

    def _mine(self) -> dict[str, IPSet]:
        """Where the same sets stand in the same order as before, only those are looked at that are others."""
        before, now = self._of, self._manager.sets
        if before is now:
            return self._own
        others = [(a, b) for a, b in zip(before, now, strict=False) if a is not b]
        if len(before) == len(now) and all(a.name == b.name for a, b in others):
            self._own = {**self._own, **{one.name: one for _, one in others if one.family == self.family}}
        else:
            self._own = by_name(one for one in now if one.family == self.family)
        self._of = now
        return self._own

    def _bring(self) -> None:
        namespace = self._iptables.namespace
        if self._standing is None:
            self._standing = ipsets.held(namespace, self._prefixes)
        standing = self._standing
        new = [one for name, one in self._sets.items() if (held := standing.get(name)) is not one and held != one]
        self._refused_sets = {}
        if not new:
            return
        self._manager.note(namespace)
        self._refused_sets = ipsets.bring(namespace, new, self._standing)
        self._standing |= {one.name: one for one in new if one.name not in self._refused_sets}
        if self._refused_sets:
            self._standing = ipsets.held(namespace, self._prefixes)

    def suspect(self) -> None:
        self._standing = None

    def sets_changed(self) -> bool:
        if self._standing is None:
            return True
        if ipsets.held(self._iptables.namespace, self._prefixes) == self._standing:
            return False
        self._standing = None
        return True

    def drift(self) -> list[str]:
        held = ipsets.held(self._iptables.namespace, self._prefixes) if self._sets or self._standing else {}
        return [*_differing(self._sets, held)]


def _differing(wanted: Mapping[str, IPSet], held: Mapping[str, IPSet]) -> Iterator[str]:
    """As the commands that would mend it."""
    for name, one in wanted.items():
        there = held.get(name)
        if there is None:
            family = "inet6" if one.family == "ipv6" else "inet"
            yield f"ipset create {name} {one.type} family {family} timeout 0"
        before = there.entries if there else frozenset()
        yield from (f"ipset add {name} {entry}" for entry in sorted(one.entries - before))
        yield from (f"ipset del {name} {entry}" for entry in sorted(before - one.entries))
    yield from (f"ipset destroy {name}" for name in held if name not in wanted)


def _delta(before: RuleSets, after: RuleSets) -> RuleDelta | None:
    """From one to the other; None where it is to be found out."""
    if len(before) != 1 or len(after) != 1:
        return None
    old, new = before[0], after[0]
    if old.hooks != new.hooks:
        return None
    if old.chains is new.chains:
        return RuleDelta(new.family, {})
    write = {key: rules for key, rules in new.chains.items() if old.chains.get(key) != rules}
    return RuleDelta(new.family, write, tuple(key for key in old.chains if key not in new.chains))
