"""How the scheduler ranks the nodes that its filters leave: by what is preferred, then the fewest, then in their order.

What pods and nodes prefer is scored from 0 to 100 and weighted as kube-scheduler does. Its scores of how full a node
is look at requests, which pods in a lab hardly have: here the node with the fewest pods of the same owner comes first,
then the one with the fewest pods, which spreads as its defaults do. Source: Kubernetes
pkg/scheduler/framework/plugins/helper (DefaultNormalizeScore), apis/config/v1/default_plugins.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from k8snetlab.api.core import Pod
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.company import Spread, preferred_terms, term_matches
from k8snetlab.controllers.fitting import Room, holds_on, unwelcome

WEIGHTS: Mapping[str, int] = {"TaintToleration": 3, "NodeAffinity": 2, "PodTopologySpread": 2, "InterPodAffinity": 2}
MOST = 100


class Score(msgspec.Struct, frozen=True):
    """What speaks for a node: `parts` by scorer, each from 0 to 100, and how many pods it has, of the same owner and
    altogether."""

    parts: Mapping[str, int]
    siblings: int
    pods: int

    @property
    def preference(self) -> int:
        return sum(WEIGHTS[name] * value for name, value in self.parts.items())

    @property
    def rank(self) -> tuple[int, int, int]:
        """The lowest is the best."""
        return -self.preference, self.siblings, self.pods


def prefers(pod: Pod) -> bool:
    """Whether the pod had rather be on some nodes than on others."""
    spec, affinity = pod.spec, pod.spec.affinity
    if affinity and (affinity.nodeAffinity or any(preferred_terms(pod))):
        return True
    return any(one.whenUnsatisfiable == "ScheduleAnyway" for one in spec.topologySpreadConstraints)


def discourages(rooms: Sequence[Room]) -> bool:
    """Whether a node had rather have no pods."""
    return any(taint.effect == "PreferNoSchedule" for room in rooms for taint in room.node.spec.taints)


def preferences(pod: Pod, fit: Sequence[Room], rooms: Sequence[Room], now: Snapshot) -> list[dict[str, int]]:
    """Of each node of `fit` what each scorer gives it, where `rooms` are all nodes."""
    if not prefers(pod) and not discourages(rooms):
        return [{} for _ in fit]
    scored = {
        "TaintToleration": _reversed([unwelcome(pod, room.node) for room in fit]),
        "NodeAffinity": _normal([_node_affinity(pod, room) for room in fit]),
        "PodTopologySpread": _spread(pod, fit, rooms),
        "InterPodAffinity": _between(_pod_affinity(pod, fit, rooms, now)),
    }
    return [{name: values[number] for name, values in scored.items()} for number in range(len(fit))]


def _node_affinity(pod: Pod, room: Room) -> int:
    affinity = pod.spec.affinity.nodeAffinity if pod.spec.affinity else None
    terms = affinity.preferredDuringSchedulingIgnoredDuringExecution if affinity else ()
    return sum(one.weight for one in terms if holds_on(one.preference, room.node))


def _spread(pod: Pod, fit: Sequence[Room], rooms: Sequence[Room]) -> list[int]:
    """More for the nodes with fewer matching pods in their places; nothing for one that is in none of some topology."""
    loose = [one for one in pod.spec.topologySpreadConstraints if one.whenUnsatisfiable == "ScheduleAnyway"]
    keys = {one.topologyKey for one in loose}
    spreads = [Spread(one, pod, rooms, keys) for one in loose]
    labels = [room.node.metadata.labels for room in fit]
    counts = [sum(one.counts[has.get(one.key, "")] for one in spreads) if keys <= has.keys() else 0 for has in labels]
    return [score if keys <= has.keys() else 0 for score, has in zip(_reversed(counts), labels, strict=True)]


def _pod_affinity(pod: Pod, fit: Sequence[Room], rooms: Sequence[Room], now: Snapshot) -> list[int]:
    sums = [0] * len(fit)
    for weight, term in preferred_terms(pod):
        counts: dict[str, int] = {}
        for room in rooms:
            value = room.node.metadata.labels.get(term.topologyKey)
            if value is not None:
                matching = sum(term_matches(term, pod, other, now) for other in room.pods)
                counts[value] = counts.get(value, 0) + matching
        for number, room in enumerate(fit):
            sums[number] += weight * counts.get(room.node.metadata.labels.get(term.topologyKey, ""), 0)
    return sums


def _normal(values: list[int]) -> list[int]:
    most = max(values, default=0)
    return [value * MOST // most if most else 0 for value in values]


def _reversed(values: list[int]) -> list[int]:
    return [MOST - value for value in _normal(values)]


def _between(values: list[int]) -> list[int]:
    low, high = min(values, default=0), max(values, default=0)
    return [(value - low) * MOST // (high - low) if high > low else 0 for value in values]
