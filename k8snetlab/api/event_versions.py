"""Events in their two versions: what events.k8s.io/v1 calls what core/v1 says, in which they are kept.

Values are objects as JSON-like builtins. Source: Kubernetes pkg/apis/events/v1/conversion.go.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
VERSION = "events.k8s.io/v1"
_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}
_OLD = {new: old for old, new in _NAMES.items()}


def as_core(value: Json) -> Json:
    return {_OLD.get(field, field): held for field, held in value.items()}


def as_events(value: Json) -> Json:
    return {_NAMES.get(field, field): held for field, held in value.items()}
