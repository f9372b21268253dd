"""What can be wrong with where a pod wants to run: its affinities, and how it is to be spread.

Source: Kubernetes pkg/apis/core/validation (ValidateNodeSelector, ValidateNodeFieldSelectorRequirement,
validatePodAffinityTerm, validateTopologySpreadConstraints), whose words these are.
"""

from __future__ import annotations

from k8snetlab.api.core import PodSpec
from k8snetlab.api.meta import LabelSelector, Object
from k8snetlab.api.placement import (
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodAffinity,
    PodAffinityTerm,
    PodAntiAffinity,
    TopologySpreadConstraint,
)
from k8snetlab.api.problems import Report, dns_label, labels
from k8snetlab.api.words import Path, shorten

_FIELD = "metadata.name"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def placement(report: Report, obj: Object, path: Path, spec: PodSpec) -> None:
    """`path` is that of the pod's spec."""
    where: Path = (*path, "affinity")
    if spec.affinity:
        _nodes(report, obj, (*where, "nodeAffinity"), spec)
        _pods(report, obj, (*where, "podAffinity"), spec.affinity.podAffinity)
        _pods(report, obj, (*where, "podAntiAffinity"), spec.affinity.podAntiAffinity)
    seen: set[tuple[str, str]] = set()
    for number, one in enumerate(spec.topologySpreadConstraints):
        at: Path = (*path, "topologySpreadConstraints", number)
        _spread(report, obj, at, one)
        pair = (one.topologyKey, one.whenUnsatisfiable)
        if pair in seen:
            message = f'Duplicate value: "{{{shorten(pair[0])}, {pair[1]}}}"'
            report.error(obj, (*at, "{topologyKey, whenUnsatisfiable}"), message)
        seen.add(pair)


def _nodes(report: Report, obj: Object, path: Path, spec: PodSpec) -> None:
    node = spec.affinity.nodeAffinity if spec.affinity else None
    if node is None:
        return
    selector = node.requiredDuringSchedulingIgnoredDuringExecution
    if selector is not None:
        where: Path = (*path, _REQUIRED, "nodeSelectorTerms")
        if not selector.nodeSelectorTerms:
            report.error(obj, where, "Required value: must have at least one node selector term")
        for number, term in enumerate(selector.nodeSelectorTerms):
            _term(report, obj, (*where, number), term)
    for number, one in enumerate(node.preferredDuringSchedulingIgnoredDuringExecution):
        _term(report, obj, (*path, _PREFERRED, number, "preference"), one.preference)


def _term(report: Report, obj: Object, path: Path, term: NodeSelectorTerm) -> None:
    for place, requirement in enumerate(term.matchExpressions):
        _expression(report, obj, (*path, "matchExpressions", place), requirement)
    for place, requirement in enumerate(term.matchFields):
        _field(report, obj, (*path, "matchFields", place), requirement)


def _pods(report: Report, obj: Object, path: Path, affinity: PodAffinity | PodAntiAffinity | None) -> None:
    if affinity is None:
        return
    for number, term in enumerate(affinity.requiredDuringSchedulingIgnoredDuringExecution):
        _pod_term(report, obj, (*path, _REQUIRED, number), term)
    for number, one in enumerate(affinity.preferredDuringSchedulingIgnoredDuringExecution):
        _pod_term(report, obj, (*path, _PREFERRED, number, "podAffinityTerm"), one.podAffinityTerm)


def _pod_term(report: Report, obj: Object, path: Path, term: PodAffinityTerm) -> None:
    for field, selector in (("labelSelector", term.labelSelector), ("namespaceSelector", term.namespaceSelector)):
        if selector is not None:
            label_selector(report, obj, (*path, field), selector)
    for number, namespace in enumerate(term.namespaces):
        if problem := dns_label(namespace):
            report.error(obj, (*path, "namespaces", number), problem)
    _topology_key(report, obj, path, term.topologyKey)


def _topology_key(report: Report, obj: Object, path: Path, key: str) -> None:
    if key:
        labels(report, obj, (*path, "topologyKey"), {key: ""})
    else:
        report.error(obj, (*path, "topologyKey"), "Required value: can not be empty")


def _spread(report: Report, obj: Object, path: Path, one: TopologySpreadConstraint) -> None:
    _topology_key(report, obj, path, one.topologyKey)
    if one.minDomains is not None and one.whenUnsatisfiable != "DoNotSchedule":
        message = f"Invalid value: {one.minDomains}: can only use minDomains if whenUnsatisfiable=DoNotSchedule"
        report.error(obj, (*path, "minDomains"), message)
    if one.labelSelector is not None:
        label_selector(report, obj, (*path, "labelSelector"), one.labelSelector)


def label_selector(report: Report, obj: Object, path: Path, selector: LabelSelector) -> None:
    labels(report, obj, (*path, "matchLabels"), selector.matchLabels)
    for number, requirement in enumerate(selector.matchExpressions):
        where: Path = (*path, "matchExpressions", number)
        labels(report, obj, (*where, "key"), {requirement.key: ""})
        if requirement.operator not in _OPERATORS:
            message = f'"{shorten(requirement.operator)}" is no operator; use one of {", ".join(_OPERATORS)}'
            report.error(obj, (*where, "operator"), message)
        elif (requirement.operator in ("In", "NotIn")) != bool(requirement.values):
            must = "needs at least one value" if not requirement.values else "takes no values"
            report.error(obj, (*where, "values"), f"operator {requirement.operator} {must}")


def _expression(report: Report, obj: Object, path: Path, requirement: NodeSelectorRequirement) -> None:
    values: Path = (*path, "values")
    labels(report, obj, (*path, "key"), {requirement.key: ""})
    match requirement.operator:
        case "In" | "NotIn" if not requirement.values:
            report.error(obj, values, "Required value: must be specified when `operator` is 'In' or 'NotIn'")
        case "Exists" | "DoesNotExist" if requirement.values:
            message = "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            report.error(obj, values, message)
        case "Gt" | "Lt" if len(requirement.values) != 1:
            report.error(obj, values, "Required value: must be specified single value when `operator` is 'Lt' or 'Gt'")


def _field(report: Report, obj: Object, path: Path, requirement: NodeSelectorRequirement) -> None:
    if requirement.operator not in ("In", "NotIn"):
        message = f'Invalid value: "{requirement.operator}": not a valid selector operator; use In or NotIn'
        report.error(obj, (*path, "operator"), message)
    elif len(requirement.values) != 1:
        message = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        report.error(obj, (*path, "values"), f"Required value: {message}")
    if requirement.key != _FIELD:
        message = f'Invalid value: "{shorten(requirement.key)}": not a valid field selector key; use {_FIELD}'
        report.error(obj, (*path, "key"), message)
