"""Numbers that Kubernetes refuses in its words, whether anybody acts on the field here or not.

Source: Kubernetes pkg/apis/core/validation and pkg/apis/batch/validation; apimachinery pkg/util/validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from k8snetlab.api.words import shorten

MOST = 2**31 - 1


class _Bounds(NamedTuple):
    low: int
    high: int
    words: str


_NOT_NEGATIVE = _Bounds(0, MOST, "must be greater than or equal to 0")
_POSITIVE = _Bounds(1, MOST, "must be greater than 0")
_PORT = _Bounds(1, 65535, "must be between 1 and 65535, inclusive")
_MODE = _Bounds(0, 0o777, "must be a number between 0 and 0777 (octal), both inclusive")
_ID = _Bounds(0, MOST, f"must be between 0 and {MOST}, inclusive")
_WEIGHT = _Bounds(1, 100, "must be in the range 1-100")
_BYTE = _Bounds(0, 255, "must be between 0 and 255, inclusive")
_TABLE: Mapping[_Bounds, str] = {
    _NOT_NEGATIVE: "Probe.initialDelaySeconds Probe.timeoutSeconds Probe.periodSeconds Probe.successThreshold "
    "Probe.failureThreshold JobSpec.backoffLimitPerIndex JobSpec.maxFailedIndexes",
    _POSITIVE: "Probe.terminationGracePeriodSeconds TopologySpreadConstraint.minDomains SleepAction.seconds "
    "TopologySpreadConstraint.maxSkew",
    _PORT: "HTTPGetAction.port TCPSocketAction.port GRPCAction.port",
    _MODE: "ConfigMapVolumeSource.defaultMode SecretVolumeSource.defaultMode ProjectedVolumeSource.defaultMode "
    "DownwardAPIVolumeSource.defaultMode DownwardAPIVolumeFile.mode KeyToPath.mode",
    _ID: "PodSecurityContext.runAsUser PodSecurityContext.runAsGroup PodSecurityContext.fsGroup "
    "PodSecurityContext.supplementalGroups SecurityContext.runAsUser SecurityContext.runAsGroup",
    _WEIGHT: "PreferredSchedulingTerm.weight WeightedPodAffinityTerm.weight",
    _BYTE: "FCVolumeSource.lun ISCSIVolumeSource.lun AWSElasticBlockStoreVolumeSource.partition "
    "GCEPersistentDiskVolumeSource.partition",
}
_BOUNDS = {field: bounds for bounds, fields in _TABLE.items() for field in fields.split()}
BOUNDED = frozenset(field.partition(".")[0] for field in _BOUNDS)
"""The types that have such fields."""


def out_of_bounds(type_: str, field: str, value: Any) -> str:
    """What the API server says of a field's number, or of one in its list; "" where it takes it."""
    bounds = _BOUNDS.get(f"{type_}.{field}")
    if bounds is None:
        return ""
    numbers = [one for one in (value if isinstance(value, list) else [value]) if type(one) is int]
    for number in numbers:
        if not bounds.low <= number <= bounds.high:
            return f"Invalid value: {shorten(str(number))}: {bounds.words}"
    return ""
