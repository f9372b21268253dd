"""What one manager has among the rules of a namespace and family."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.rules import Family, RuleDelta, RuleSet
from k8snetlab.errors import K8sNetLabError, KernelError
from k8snetlab.kernel.iptables import RestoreRefused

RuleSets = tuple[RuleSet, ...]
Write = Callable[[RuleSets], int]
"""Writes these rules of one manager's, beside what all others have; returns the number of changes. Raises
RestoreRefused; what was there before then stays."""
HINT = "all other rules are written; these are tried again"


class TablePart:
    """Rules that are taken or refused as a whole; who can say which of its rules are to blame overrides `apart`."""

    def __init__(self, name: str, family: Family) -> None:
        """`name` is the manager's."""
        self.name, self.family = name, family
        self.wanted: RuleSets = ()
        self.delta: RuleDelta | None = None
        """What leads to `wanted` from what the kernel took last; None where that is to be found out."""
        self.refused: KernelError | None = None
        self.unwanted: K8sNetLabError | None = None
        """Why it could not say what it wants: what it wanted last stands then."""
        self._taken: RuleSets | None = None

    @property
    def failure(self) -> K8sNetLabError | None:
        """What the kernel refuses, with the line it refuses."""
        return self.refused

    def want(self, snapshot: Snapshot, rules: RuleSets) -> None:
        """`rules` are those of the manager's part of the dataplane."""
        self.wanted = rules
        self.delta = RuleDelta(self.family, {}) if self._taken == rules and not self.refused else None

    def hurries(self, rules: RuleSets) -> bool:
        """Whether these rules must be written although the table rests."""
        return False

    def took(self, rules: RuleSets) -> None:
        """The kernel has them now."""
        self._taken = rules

    def succeeded(self) -> None:
        """The kernel has all that is `wanted`."""
        self.took(self.wanted)
        self.refused = None

    @property
    def is_new(self) -> bool:
        """Whether `wanted` is something else than what the kernel took last."""
        return self._taken is None or self._taken != self.wanted

    def before(self) -> RuleSets:
        """What stays while nothing new is written: what the kernel took last. Chains that an agent before this one
        left are nobody's then, and stand."""
        return self._taken or ()

    def lost(self) -> None:
        """What the kernel took last is not taken any more: `before` says it anew."""
        self._taken = None

    def refuse(self, refusal: RestoreRefused) -> None:
        """Nothing of it is taken."""
        self.refused = KernelError(refusal.message, HINT, refusal.line)

    def apart(self, write: Write) -> int:
        """Writes what the kernel takes of `wanted`, where it has `before` now; the rest is `failure`."""
        try:
            count = write(self.wanted)
        except RestoreRefused as refusal:
            self.refuse(refusal)
            return write(self.before())
        self.succeeded()
        return count


def merged(family: Family, deltas: Iterable[RuleDelta | None]) -> RuleDelta | None:
    """All of them in one; None where one is not known.

    Those that say in which order tables are written have their way (`refusing_first`): one of a single table says none.
    """
    deltas = list(deltas)
    known = [delta for delta in deltas if delta is not None]
    if len(known) < len(deltas):
        return None
    if len(some := [delta for delta in known if delta]) == 1:
        return some[0]
    ordered = sorted(known, key=lambda delta: len({key.table for key in delta.write}) < 2)
    return RuleDelta(
        family,
        {key: rules for delta in ordered for key, rules in delta.write.items()},
        tuple(key for delta in known for key in delta.delete),
        tuple(hook for delta in known for hook in delta.hooks),
    )


def of_family(rules: Iterable[RuleSet], family: Family) -> RuleSets:
    return tuple(one for one in rules if one.family == family)
