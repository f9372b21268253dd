"""Keeps one namespace's iptables, for one IP family, as flannel and kube-proxy want them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from k8snetlab.dataplane.rules import ChainKey, Family, Hook, RuleDelta, Rules, RuleSet
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel.iptables import Iptables
from k8snetlab.trace.syntax import canonical


class RulesKeeper:
    """What is written is remembered by the kernel's generation, so that a change by others is noticed cheaply."""

    def __init__(self, iptables: Iptables) -> None:
        self._iptables = iptables
        self._wanted: tuple[RuleSet, ...] = ()
        self._generation: Hashable = None
        self._suspect = True

    @property
    def family(self) -> Family:
        return self._iptables.family

    def suspect(self) -> None:
        """The kernel may hold anything: read it all at the next sync."""
        self._suspect = True

    def foreign_change(self) -> bool:
        """Whether someone else touched the rules since this keeper last read or wrote them."""
        return self._suspect or self._iptables.generation() != self._generation

    def sync(self, wanted: tuple[RuleSet, ...], delta: RuleDelta | None = None) -> int:
        """Makes the rules of all of `wanted` stand; returns the number of chains written or deleted and jumps put in.

        `delta` leads from what was wanted last to `wanted`; without it, or when others meddled, the kernel is read and
        the difference worked out.
        """
        self._wanted = wanted
        held = None
        if delta is None or self.foreign_change():
            held = self._iptables.save()
            delta = self._difference(held)
        if delta:
            try:
                self._iptables.apply(delta, held)
            except K8sNetLabError:
                self._suspect = True
                raise
        if delta or held is not None:
            self._generation = self._iptables.generation()
            self._suspect = False
        return len(delta.write) + len(delta.delete) + len(delta.hooks)

    def drift(self) -> list[str]:
        """What differs in the kernel, a line each."""
        delta = self._difference(self._iptables.save())
        tool = "iptables" if self.family == "ipv4" else "ip6tables"
        return [
            *(f"{tool} -t {table}: chain {chain} is not as it should be" for table, chain in delta.write),
            *(f"{tool} -t {table}: chain {chain} should not be there" for table, chain in delta.delete),
            *(f"{tool} -t {h.table}: {h.chain} lacks the rule {h.rule}" for h in delta.hooks),
        ]

    def _difference(self, held: Mapping[ChainKey, Rules]) -> RuleDelta:
        """From what the kernel holds to what is wanted."""
        write: dict[ChainKey, Rules] = {}
        hooks: list[Hook] = []
        for ruleset in self._wanted:
            write |= {key: rules for key, rules in ruleset.chains.items() if not _same(rules, held.get(key))}
            hooks += [hook for hook in ruleset.hooks if not _stands(hook, held)]
        stale = tuple(
            key
            for key in held
            if any(r.owns(key.chain) for r in self._wanted) and not any(key in r.chains for r in self._wanted)
        )
        return RuleDelta(self.family, write, stale, tuple(hooks))


def _same(wanted: Rules, held: Rules | None) -> bool:
    return (
        held is not None
        and len(wanted) == len(held)
        and all(one == other or canonical(one) == canonical(other) for one, other in zip(wanted, held, strict=True))
    )


def _stands(hook: Hook, held: Mapping[ChainKey, Rules]) -> bool:
    jump = "-j " + hook.rule.rpartition("-j ")[2]
    alike = [rule for rule in held.get(ChainKey(hook.table, hook.chain), ()) if rule.endswith(jump)]
    return bool(alike) and any(canonical(rule) == canonical(hook.rule) for rule in alike)
