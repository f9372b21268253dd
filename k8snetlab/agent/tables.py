"""A node's iptables: what all managers want of them, written together, and apart where the kernel refuses some."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from k8snetlab.agent import journal
from k8snetlab.agent.additions import AddedAddresses, AddedRules, Owner
from k8snetlab.agent.failure import failure_of
from k8snetlab.agent.pace import Pace
from k8snetlab.agent.rules import RulesKeeper
from k8snetlab.agent.steps import Steps, differ, note, seen
from k8snetlab.agent.table_part import RuleSets, TablePart, Write, merged, of_family
from k8snetlab.agent.variants import OtherVariant
from k8snetlab.api.addressing import split
from k8snetlab.api.lab import Lab
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import holds
from k8snetlab.dataplane.families import FAMILIES, pick
from k8snetlab.dataplane.names import is_host
from k8snetlab.dataplane.rules import Family, RuleDelta, RuleSet
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import iptables
from k8snetlab.kernel.iptables import Iptables, RestoreRefused

SOON = 0.001
"""Seconds until what has become due meanwhile is written."""


class Table:
    """All tables of one namespace and IP family. `parts` are the managers', in the order in which rules are put in."""

    def __init__(self, iptables: Iptables, parts: Sequence[TablePart], steps: Steps | None = None) -> None:
        self.iptables, self.parts, self._steps = iptables, parts, steps or Steps()
        self._keeper = RulesKeeper(iptables)
        self._pace = Pace()

    @property
    def rest(self) -> float:
        """Seconds until its rules are to be written again."""
        return self._pace.rest

    def close(self) -> None:
        self._keeper.close()

    def hold(self, held: holds.Holds) -> None:
        """As `NamespaceKeeper.hold`, of what this namespace has."""
        self._keeper.held = holds.within(held, self.iptables.namespace)
        self._keeper.suspect()

    def suspect(self) -> None:
        self._keeper.suspect()

    def foreign_change(self) -> bool:
        return self._keeper.foreign_change()

    def drift(self) -> list[str]:
        return self._keeper.drift()

    def sync(self, trusting: bool = False) -> int:
        """Brings the kernel to what the parts want; returns the number of chains and jumps that were changed.

        What the kernel refuses is the failure of the part that it is of. Raises KernelError where no rule is to blame.
        """
        began = time.monotonic()
        try:
            count = self._write({}, merged(self.iptables.family, (part.delta for part in self.parts)), trusting)
        except RestoreRefused as refusal:
            if not refusal.line:
                raise  # no rule is to blame: it was killed, or found no memory
            return self._write_apart()
        took = time.monotonic() - began
        self._pace.wrote(self._keeper.written, took)
        if count:
            self._steps.wrote(self._keeper.written, took)
        for part in self.parts:
            part.succeeded()
        return count

    def _write(self, instead: dict[str, RuleSets], delta: RuleDelta | None = None, trusting: bool = False) -> int:
        """`instead` are rules of parts, by name, in the place of what they want."""
        wanted = tuple(rules for part in self.parts for rules in instead.get(part.name, part.wanted))
        return self._keeper.sync(wanted, delta, trusting)

    def _write_apart(self) -> int:
        """First nothing new, and then each part by itself.

        Where even what was taken before is refused, somebody has changed what it stands on: each part's turn then
        begins with nothing written of any, so that what stands of them is left as it is.
        """
        new = [part for part in self.parts if part.is_new]
        shown = {part.name: part.before() for part in new}
        try:
            count = self._write(shown)
        except RestoreRefused as refusal:
            if not refusal.line:
                raise
            shown = {part.name: () for part in self.parts}
            return sum(self._from_nothing(part, partial(self._show, shown, part.name)) for part in self.parts)
        for part in self.parts:
            if part not in new:
                part.succeeded()
        return count + sum(part.apart(partial(self._show, shown, part.name)) for part in new)

    def _show(self, shown: dict[str, RuleSets], name: str, rules: RuleSets) -> int:
        """Writes these rules of one part, beside what is `shown` of the others."""
        done = self._write({**shown, name: rules})
        shown[name] = rules
        return done

    def _from_nothing(self, part: TablePart, write: Write) -> int:
        """One part, of which nothing is written."""
        try:
            count = write(part.wanted)
        except RestoreRefused:
            part.lost()
        else:
            part.succeeded()
            return count
        try:
            count = write(part.before())
        except RestoreRefused as refusal:
            part.refuse(refusal)
            return write(())
        return count + part.apart(write)


class NodeTables:
    """A node's `Table` for each family of its lab, in the variant of iptables that the lab asks for; and the other
    variant, which should hold nothing of ours."""

    def __init__(
        self, owner: Owner, locks: Path, makers: Mapping[str, Callable[[Iptables], TablePart]], steps: Steps
    ) -> None:
        """`makers` make the managers' parts of a table that is new, by name, in the order in which rules are put in;
        `steps` are those of all nodes."""
        self._owner, self._locks, self._makers, self._steps = owner, locks, makers, steps
        self._had: Snapshot | None = None
        """The objects of the step that was taken last."""
        self._tables: dict[Family, Table] = {}
        self._unmade: dict[str, K8sNetLabError] = {}
        """Why a manager's part could not be made: no rules of it are written, and what stands of them stays."""
        self._chosen: iptables.Variant = "nft"
        self._other: OtherVariant | None = None
        self.coming = 0
        """Pods that are to become ready."""
        self._held = holds.NONE
        self._stands = True
        """Whether the last sync that began to write came to its end; what a manager failed in is told by itself."""
        self.rest = 0.0
        """Seconds until the rules that the last sync has left as they were are to be written."""

    @property
    def variant(self) -> str:
        """The iptables variant in use, "" before the first sync."""
        return self._chosen if self._tables else ""

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._other.warnings if self._other else ()

    @property
    def failures(self) -> Iterator[tuple[str, K8sNetLabError]]:
        """Of the last sync, with the manager's name."""
        yield from self._unmade.items()
        for table in self._tables.values():
            for part in table.parts:
                if failure := part.unwanted or part.failure:
                    yield part.name, failure

    def rested(self, coming: int) -> bool:
        """Whether rules that the last sync has left as they were are to be written by now."""
        return bool(self.rest) and not self._rest(coming)

    def _rest(self, coming: int) -> float:
        return max([self._steps.rest(self._had, coming), *(table.rest for table in self._tables.values())])

    def forget(self) -> None:
        """The namespace is another one, or is let go of."""
        for table in self._tables.values():
            table.close()
        self._tables.clear()
        self._had = None
        if self._other is not None:
            self._other.close()
            self._other = None

    def suspect(self) -> None:
        for table in self._tables.values():
            table.suspect()

    def hold(self, held: holds.Holds) -> None:
        """As `NamespaceKeeper.hold`."""
        self._held = held
        for table in self._tables.values():
            table.hold(held)

    def changed(self) -> bool:
        return any(table.foreign_change() for table in self._tables.values()) or (
            self._other is not None and self._other.changed()
        )

    def drift(self) -> list[str]:
        return [line for table in self._tables.values() for line in table.drift()]

    def sync(
        self, snapshot: Snapshot, namespace: str, rules: Callable[[str], Sequence[RuleSet]], trusting: bool
    ) -> int:
        """`rules` are a manager's, by its name, in all families. Raises KernelError; returns as `Table.sync`."""
        chosen = iptables.variant(snapshot.lab.spec.proxy.iptables)
        if chosen != self._chosen:
            self.forget()
            self._chosen = chosen
        families = [family for family in FAMILIES if pick(snapshot.lab.spec.podCIDR, family)]
        if is_host(namespace):
            self._note(snapshot.lab)
        self._unmade = {}
        self.rest = self._rest(self.coming)
        if self.rest and self._stands and not self._hurried(rules):
            return 0
        self.rest, self._stands = 0.0, False
        for family in families:
            if family not in self._tables:
                opened = iptables.open(namespace, family, chosen, self._locks / namespace)
                self._tables[family] = Table(opened, [], self._steps)
                self._tables[family].hold(self._held)
            self._complete(self._tables[family])
        step = self._steps.take(snapshot, self.coming)
        self._want(families, rules, objects := seen(snapshot, step))
        if self._had is None and differ((newer := self._steps.take(snapshot, self.coming)).objects, step.objects):
            # All rules take a while to be worked out: what has come meanwhile is written with them, not right after.
            step = newer
            self._want(families, rules, objects := seen(snapshot, step))
            for family in families:
                self._tables[family].suspect()  # what has changed since the first look leads from rules never written
        note(snapshot, step, objects)
        count = sum(self._tables[family].sync(trusting) for family in families)
        self._had, self._stands = step.objects, True
        if not step.newest:
            self.rest = max(SOON, self._steps.rest(self._had, self.coming))
        self._look(namespace, trusting)
        return count

    def _want(self, families: Iterable[Family], rules: Callable[[str], Sequence[RuleSet]], objects: Snapshot) -> None:
        """Asks each part what it wants."""
        for family in families:
            for part in self._tables[family].parts:
                part.unwanted = None
                try:
                    part.want(objects, of_family(rules(part.name), family))
                except Exception as error:
                    part.unwanted = failure_of(part.name, error)

    def _hurried(self, rules: Callable[[str], Sequence[RuleSet]]) -> bool:
        return any(
            part.hurries(of_family(rules(part.name), family))
            for family, table in self._tables.items()
            for part in table.parts
        )

    def _complete(self, table: Table) -> None:
        """Has the parts made that are not there yet."""
        made = {part.name: part for part in table.parts}
        for name, make in self._makers.items():
            if name not in made:
                try:
                    made[name] = make(table.iptables)
                except Exception as error:
                    self._unmade.setdefault(name, failure_of(name, error))
        table.parts = [made[name] for name in self._makers if name in made]

    def _look(self, namespace: str, trusting: bool) -> None:
        """At the variant that is not the lab's."""
        if self._other is None:
            self._other = OtherVariant(namespace, self._chosen, self._locks / namespace)
            if not is_host(namespace) or self._noted(self._other.variant):
                self._other.clear()
            self._other.look()
        elif not trusting and self._other.changed():
            self._other.look()

    def _note(self, lab: Lab) -> None:
        """Notes what is added, before rules are written into the host's namespace."""
        if not self._noted(self._chosen):
            self._owner.own_additions([journal.of_rules(self._chosen)])
        networks = tuple(split(f"{lab.spec.podCIDR},{lab.spec.serviceCIDR}"))
        if (addresses := AddedAddresses(networks)) not in self._owner.additions:
            self._owner.own_additions([addresses])

    def _noted(self, variant: iptables.Variant) -> bool:
        return any(isinstance(one, AddedRules) and one.variant == variant for one in self._owner.additions)
