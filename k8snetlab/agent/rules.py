"""Keeps one namespace's iptables, for one IP family, as flannel and kube-proxy want them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping

from k8snetlab.dataplane import holds
from k8snetlab.dataplane.rules import ChainKey, Family, Hook, RuleDelta, Rules, RuleSet, refusing_first
from k8snetlab.errors import K8sNetLabError
from k8snetlab.iptables.patch import jump_numbers, same_rules, standing
from k8snetlab.iptables.syntax import canonical
from k8snetlab.kernel.iptables import Iptables


class RulesKeeper:
    """What is written is remembered by the kernel's generation, so that a change by others is noticed cheaply."""

    def __init__(self, iptables: Iptables) -> None:
        self._iptables = iptables
        self._wanted: tuple[RuleSet, ...] = ()
        self._generation: Hashable = None
        self._suspect = True
        self.written = 0
        """Rules that the last sync wrote."""
        self.held = holds.NONE
        """Chains and jumps of this namespace that are left as they are."""

    @property
    def family(self) -> Family:
        return self._iptables.family

    def suspect(self) -> None:
        """Forgets what the kernel holds: the next sync reads it all."""
        self._suspect = True

    def close(self) -> None:
        """Lets go of the namespace, whose rules stay as they are."""
        self._iptables.close()

    def foreign_change(self) -> bool:
        """Whether anyone else touched the rules since this keeper last read or wrote them."""
        return self._suspect or self._iptables.generation() != self._generation

    def sync(self, wanted: tuple[RuleSet, ...], delta: RuleDelta | None = None, trusting: bool = False) -> int:
        """Makes the rules of all of `wanted` stand; returns the number of chains written or deleted and jumps put in
        or taken out.

        `delta` leads from what was wanted last to `wanted`; without it, or when others meddled, the kernel is read and
        the difference worked out. `trusting` that others did not, nothing is looked at where nothing is to be written.
        Raises RestoreRefused, KernelError; the next sync then reads the kernel.
        """
        self._wanted, self.written = wanted, 0
        if trusting and delta is not None and not delta and not self._suspect:
            return 0
        held, obsolete = None, 0
        if delta is None or self.foreign_change():
            self._suspect = True
            self._generation = self._iptables.generation()
            held = self._iptables.save()
            delta = self._difference(held)
            obsolete = len(list(self._obsolete(held)))
            self._suspect = False
        delta = holds.spared_rules(delta, self.held)
        try:
            made = self._iptables.apply(delta, held) if delta else 0
            if obsolete:
                self._take_out_obsolete()
        except K8sNetLabError:
            self._suspect = True
            raise
        if delta or obsolete:
            self.written = sum(map(len, delta.write.values()))
            # What others do meanwhile must not pass for seen.
            made = made if made is None else made + obsolete
            self._generation = self._iptables.alone_since(self._generation, made)
        return len(delta.write) + len(delta.delete) + len(delta.hooks) + obsolete

    def drift(self) -> list[str]:
        """What differs in the kernel, a line each; nothing is read where nobody else wrote since the last sync."""
        if not self.foreign_change():
            return []
        held = self._iptables.save()
        delta = self._difference(held)
        tool = "iptables" if self.family == "ipv4" else "ip6tables"
        return [
            *(f"{tool} -t {table}: chain {chain} is not as it should be" for table, chain in delta.write),
            *(f"{tool} -t {table}: chain {chain} should not be there" for table, chain in delta.delete),
            *(f"{tool} -t {h.table}: {h.chain} lacks the rule {h.rule}" for h in delta.hooks),
            *(f"{tool} -t {key.table}: rule {n} of {key.chain} should not be there" for key, n in self._obsolete(held)),
        ]

    def _difference(self, held: Mapping[ChainKey, Rules]) -> RuleDelta:
        """The changes from what the kernel holds to what is wanted."""
        write: dict[ChainKey, Rules] = {}
        hooks: list[Hook] = []
        for ruleset in self._wanted:
            chains = ruleset.chains.items()
            write |= {key: rules for key, rules in chains if key not in held or not same_rules(rules, held[key])}
            hooks += [hook for hook in ruleset.hooks if not jump_numbers(hook, held)]
        stale = tuple(
            key
            for key in held
            if any(r.owns(key.chain) for r in self._wanted) and not any(key in r.chains for r in self._wanted)
        )
        ordered = refusing_first(write, _known(write, held))
        return holds.spared_rules(RuleDelta(self.family, ordered, stale, tuple(hooks)), self.held)

    def _obsolete(self, held: Mapping[ChainKey, Rules]) -> Iterator[tuple[ChainKey, int]]:
        """The jumps that must not stand."""
        yield from standing([hook for ruleset in self._wanted for hook in ruleset.obsolete], held)

    def _take_out_obsolete(self) -> None:
        for key, number in list(self._obsolete(self._iptables.save())):
            self._iptables.delete_rule(key, number)


def _known(write: Mapping[ChainKey, Rules], held: Mapping[ChainKey, Rules]) -> dict[ChainKey, Rules]:
    """Of the rules to write in table filter those that are held, whatever iptables-save has made of them."""
    found = {}
    for key in write:
        if key.table == "filter":
            there = set(map(canonical, held.get(key, ())))
            found[key] = tuple(rule for rule in write[key] if canonical(rule) in there)
    return found
