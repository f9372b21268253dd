"""Where a pod may run and where it had better: node affinity, affinity to other pods, spread over a topology.

Source: Kubernetes API reference, core/v1.
"""

from __future__ import annotations

from typing import Literal

from k8snetlab.api.meta import LabelSelector, Value, always


class NodeSelectorRequirement(Value):
    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: tuple[str, ...] = ()


class NodeSelectorTerm(Value):
    """All of its requirements must hold: on a node's labels, and (`matchFields`) on its metadata.name."""

    matchExpressions: tuple[NodeSelectorRequirement, ...] = ()
    matchFields: tuple[NodeSelectorRequirement, ...] = ()


class NodeSelector(Value):
    """One of its terms must hold."""

    nodeSelectorTerms: tuple[NodeSelectorTerm, ...] = always(())


class PreferredSchedulingTerm(Value):
    """`weight` from 1 to 100 is what a node is worth on which the preference holds."""

    weight: int
    preference: NodeSelectorTerm


class NodeAffinity(Value):
    requiredDuringSchedulingIgnoredDuringExecution: NodeSelector | None = None
    preferredDuringSchedulingIgnoredDuringExecution: tuple[PreferredSchedulingTerm, ...] = ()


class PodAffinityTerm(Value):
    """Pods that `labelSelector` matches (none without one), in these namespaces or in the pod's own where none are
    named; nodes with the same value of the label `topologyKey` are one place. `matchLabelKeys` are labels in which the
    others must be as the pod itself, `mismatchLabelKeys` those in which they must differ."""

    topologyKey: str
    labelSelector: LabelSelector | None = None
    namespaces: tuple[str, ...] = ()
    namespaceSelector: LabelSelector | None = None
    matchLabelKeys: tuple[str, ...] = ()
    mismatchLabelKeys: tuple[str, ...] = ()


class WeightedPodAffinityTerm(Value):
    """`weight` is from 1 to 100."""

    weight: int
    podAffinityTerm: PodAffinityTerm


class PodAffinity(Value):
    requiredDuringSchedulingIgnoredDuringExecution: tuple[PodAffinityTerm, ...] = ()
    preferredDuringSchedulingIgnoredDuringExecution: tuple[WeightedPodAffinityTerm, ...] = ()


class PodAntiAffinity(Value):
    requiredDuringSchedulingIgnoredDuringExecution: tuple[PodAffinityTerm, ...] = ()
    preferredDuringSchedulingIgnoredDuringExecution: tuple[WeightedPodAffinityTerm, ...] = ()


class Affinity(Value):
    nodeAffinity: NodeAffinity | None = None
    podAffinity: PodAffinity | None = None
    podAntiAffinity: PodAntiAffinity | None = None


class TopologySpreadConstraint(Value):
    """No place of the topology may have `maxSkew` more matching pods than the one with fewest. The two policies say
    whether nodes count that the pod's affinity or tolerations rule out (None: Honor for affinity, Ignore for taints).
    """

    maxSkew: int
    topologyKey: str
    whenUnsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    labelSelector: LabelSelector | None = None
    minDomains: int | None = None
    nodeAffinityPolicy: Literal["Honor", "Ignore"] | None = None
    nodeTaintsPolicy: Literal["Honor", "Ignore"] | None = None
    matchLabelKeys: tuple[str, ...] = ()
