"""What pods are to the set that owns them, kept from one look at a set to the next.

A ReplicaSet of a thousand pods is looked at whenever one of them changes: what the others are to it is the same as
before, so that only their numbers are asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple

from msgspec import Struct, field

from k8snetlab.api.core import Pod
from k8snetlab.api.snapshot import Key


class Standing(NamedTuple):
    """Of one pod: `active`: neither on its way out nor at its end; `kept`: at its end, and keeps its place; `fits` the
    selector; `labelled` as the template is."""

    active: bool
    kept: bool
    fits: bool
    ready: bool
    labelled: bool

    @property
    def counts(self) -> bool:
        """Whether it is one of the set's."""
        return (self.active or self.kept) and self.fits

    @property
    def strays(self) -> bool:
        """Whether the set is to let go of it."""
        return self.active and not self.fits


class _Looked(Struct, frozen=True):
    rule: Hashable
    pods: Mapping[Key, Pod] = {}
    standings: dict[Key, Standing] = {}
    tally: Counter[Standing] = field(default_factory=Counter)


class ReplicaMemory:
    """By kind, namespace and name of the set."""

    def __init__(self) -> None:
        self._known: dict[Hashable, _Looked] = {}
        self.made = 0
        """How many times it was worked out what a pod is to its set."""

    def tally(
        self, name: Hashable, rule: object, pods: Mapping[Key, Pod], standing: Callable[[Pod], Standing]
    ) -> Counter[Standing]:
        """How many of the pods are what. `standing` asks a pod and the `rule`, nothing else."""
        known = self._known.get(name)
        if known is None or known.rule != rule:
            known = _Looked(rule)
        before, standings, tally = known.pods, known.standings, known.tally
        for key in before.keys() - pods.keys():
            if (old := standings.pop(key, None)) is not None:
                tally[old] -= 1
        for key, pod in pods.items():
            if before.get(key) is not pod:
                self.made += 1
                if (old := standings.get(key)) is not None:
                    tally[old] -= 1
                new = standings[key] = standing(pod)
                tally[new] += 1
        self._known[name] = _Looked(rule, pods, standings, +tally)
        return +tally

    def forget(self, name: Hashable) -> None:
        self._known.pop(name, None)
