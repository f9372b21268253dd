"""Which pods a pod wants near itself and which not: affinity and anti-affinity to pods, spread over a topology.

Source: Kubernetes pkg/scheduler/framework/plugins/interpodaffinity and podtopologyspread (filtering.go).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from k8snetlab.api.core import Namespace, Node, Pod
from k8snetlab.api.meta import LabelSelector, LabelSelectorRequirement
from k8snetlab.api.placement import PodAffinityTerm, TopologySpreadConstraint, WeightedPodAffinityTerm
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.fitting import Room, tolerates_node, wanted

AFFINITY = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
OTHERS = "node(s) didn't satisfy existing pods anti-affinity rules"
SPREAD = "node(s) didn't match pod topology spread constraints"
UNLABELLED = f"{SPREAD} (missing required label)"


def affinity_terms(pod: Pod) -> Sequence[PodAffinityTerm]:
    """Those that are required, of pods that must be near."""
    found = pod.spec.affinity.podAffinity if pod.spec.affinity else None
    return found.requiredDuringSchedulingIgnoredDuringExecution if found else ()


def anti_affinity_terms(pod: Pod) -> Sequence[PodAffinityTerm]:
    """Those that are required, of pods that must not be near."""
    found = pod.spec.affinity.podAntiAffinity if pod.spec.affinity else None
    return found.requiredDuringSchedulingIgnoredDuringExecution if found else ()


def preferred_terms(pod: Pod) -> Iterator[tuple[int, PodAffinityTerm]]:
    """(weight, term) of pods that had better be near; of those that had better not, the weight is negative."""
    affinity = pod.spec.affinity
    near = affinity.podAffinity if affinity else None
    far = affinity.podAntiAffinity if affinity else None
    weighted: tuple[tuple[int, tuple[WeightedPodAffinityTerm, ...]], ...] = (
        (1, near.preferredDuringSchedulingIgnoredDuringExecution if near else ()),
        (-1, far.preferredDuringSchedulingIgnoredDuringExecution if far else ()),
    )
    for sign, terms in weighted:
        for one in terms:
            yield sign * one.weight, one.podAffinityTerm


def repelling(pod: Pod) -> Iterable[bool]:
    """The group True has the pods that must not be near some others."""
    return (True,) if anti_affinity_terms(pod) else ()


def has_company(pod: Pod) -> bool:
    """Whether the pod itself says which pods it wants near, or how they are to be spread."""
    affinity = pod.spec.affinity
    return bool(pod.spec.topologySpreadConstraints or (affinity and (affinity.podAffinity or affinity.podAntiAffinity)))


def term_matches(term: PodAffinityTerm, of: Pod, other: Pod, now: Snapshot) -> bool:
    """Whether `other` is among the pods that a term of the pod `of` means."""
    return _in_namespaces(term, of, other.namespace, now) and _selects(_selector_of(term, of), other)


def _in_namespaces(term: PodAffinityTerm, of: Pod, namespace: str, now: Snapshot) -> bool:
    if not term.namespaces and term.namespaceSelector is None:
        return namespace == of.namespace
    if namespace in term.namespaces:
        return True
    space = now.get(Namespace, namespace)
    return term.namespaceSelector is not None and term.namespaceSelector.matches(space.metadata.labels if space else {})


def _selects(selector: LabelSelector | None, pod: Pod) -> bool:
    return selector is not None and selector.matches(pod.metadata.labels)


def _selector_of(term: PodAffinityTerm, pod: Pod) -> LabelSelector | None:
    selector = _also(term.labelSelector, term.matchLabelKeys, "In", pod)
    return _also(selector, term.mismatchLabelKeys, "NotIn", pod)


def _also(selector: LabelSelector | None, keys: Sequence[str], operator: str, pod: Pod) -> LabelSelector | None:
    """The selector, with what the pod's own labels of these keys add to it."""
    labels = pod.metadata.labels
    more = tuple(
        LabelSelectorRequirement(key=key, operator=operator, values=(labels[key],)) for key in keys if key in labels
    )
    if selector is None or not more:
        return selector
    return LabelSelector(matchLabels=selector.matchLabels, matchExpressions=(*selector.matchExpressions, *more))


class Company:
    """What the pods that are there say of one pod's place, node by node."""

    def __init__(self, pod: Pod, rooms: Sequence[Room], now: Snapshot) -> None:
        self._pod = pod
        near, far = affinity_terms(pod), anti_affinity_terms(pod)
        self._far = [(term, self._places(rooms, now, (term,))) for term in far]
        self._near = [(term.topologyKey, self._places(rooms, now, near, term.topologyKey)) for term in near]
        alone = not any(places for _, places in self._near)
        self._first = alone and bool(near) and all(term_matches(term, pod, pod, now) for term in near)
        """Whether it is the first of a group that wants to be together."""
        self._repelled = self._repelled_at(rooms, now)
        hard = [one for one in pod.spec.topologySpreadConstraints if one.whenUnsatisfiable == "DoNotSchedule"]
        self._spread = [Spread(one, pod, rooms, {other.topologyKey for other in hard}) for one in hard]

    def affinity_problem(self, node: Node) -> str:
        """Why the node is not taken for pods' sake, "" where it may be."""
        labels = node.metadata.labels
        for key, places in self._near:
            if key not in labels or not (places[labels[key]] or self._first):
                return AFFINITY
        if any(term.topologyKey in labels and places[labels[term.topologyKey]] for term, places in self._far):
            return ANTI_AFFINITY
        return OTHERS if any(labels.get(key) == value for key, value in self._repelled) else ""

    def spread_problem(self, node: Node) -> str:
        """Why the node would be too full a place, "" where it would not."""
        return next((problem for one in self._spread if (problem := one.problem(node))), "")

    def _places(
        self, rooms: Sequence[Room], now: Snapshot, terms: Sequence[PodAffinityTerm], key: str = ""
    ) -> Counter[str]:
        """How many pods that all the terms mean there are, by the value of the topology's label."""
        key = key or terms[0].topologyKey
        counts: Counter[str] = Counter()
        for room in rooms:
            value = room.node.metadata.labels.get(key)
            if value is not None:
                counts[value] += sum(all(term_matches(t, self._pod, one, now) for t in terms) for one in room.pods)
        return +counts

    def _repelled_at(self, rooms: Sequence[Room], now: Snapshot) -> set[tuple[str, str]]:
        """(label, value) of the places where there is a pod that must not have this one near."""
        found: set[tuple[str, str]] = set()
        for room in rooms:
            labels = room.node.metadata.labels
            for other in room.pods:
                for term in anti_affinity_terms(other):
                    if term.topologyKey in labels and term_matches(term, other, self._pod, now):
                        found.add((term.topologyKey, labels[term.topologyKey]))
        return found


class Spread:
    """One constraint of a pod: how many matching pods each place has, and how many the emptiest."""

    def __init__(
        self, constraint: TopologySpreadConstraint, pod: Pod, rooms: Sequence[Room], keys: Iterable[str]
    ) -> None:
        self.key = constraint.topologyKey
        self._constraint = constraint
        selector = _also(constraint.labelSelector, constraint.matchLabelKeys, "In", pod)
        self._itself = _selects(selector, pod)
        self.counts: Counter[str] = Counter()
        for room in rooms:
            labels = room.node.metadata.labels
            if not all(key in labels for key in keys) or not self._counts(pod, room.node):
                continue
            self.counts[labels[self.key]] += sum(
                other.namespace == pod.namespace and not other.metadata.deletionTimestamp and _selects(selector, other)
                for other in room.pods
            )

    def problem(self, node: Node) -> str:
        value = node.metadata.labels.get(self.key)
        if value is None:
            return UNLABELLED
        few = len(self.counts) < (self._constraint.minDomains or 1)
        least = 0 if few else min(self.counts.values(), default=0)
        return SPREAD if self.counts[value] + self._itself - least > self._constraint.maxSkew else ""

    def _counts(self, pod: Pod, node: Node) -> bool:
        if self._constraint.nodeAffinityPolicy != "Ignore" and not wanted(pod, node):
            return False
        return self._constraint.nodeTaintsPolicy != "Honor" or tolerates_node(pod, node)
