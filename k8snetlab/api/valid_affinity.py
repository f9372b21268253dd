"""What can be wrong with a pod's node affinity.

Source: Kubernetes pkg/apis/core/validation (ValidateNodeSelector, ValidateNodeFieldSelectorRequirement), whose words
these are.
"""

from __future__ import annotations

from k8snetlab.api.core import Affinity, NodeSelectorRequirement
from k8snetlab.api.meta import Object
from k8snetlab.api.problems import Report, labels
from k8snetlab.api.words import Path, shorten

_FIELD = "metadata.name"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def affinity(report: Report, obj: Object, path: Path, affinity: Affinity | None) -> None:
    node = affinity.nodeAffinity if affinity else None
    selector = node.requiredDuringSchedulingIgnoredDuringExecution if node else None
    if selector is None:
        return
    path = (*path, "nodeAffinity", _REQUIRED, "nodeSelectorTerms")
    if not selector.nodeSelectorTerms:
        report.error(obj, path, "Required value: must have at least one node selector term")
    for number, term in enumerate(selector.nodeSelectorTerms):
        for place, requirement in enumerate(term.matchExpressions):
            _expression(report, obj, (*path, number, "matchExpressions", place), requirement)
        for place, requirement in enumerate(term.matchFields):
            _field(report, obj, (*path, number, "matchFields", place), requirement)


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
