"""The part `scale` of workloads: how many pods are wanted, as autoscaling/v1 Scale. Pure.

Source: k8s.io/api/autoscaling/v1, pkg/registry/apps/deployment/storage (ScaleREST).
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import without_nulls
from k8snetlab.api.words import describe, shorten
from k8snetlab.errors import RequestError

Json = dict[str, Any]
REPLICAS = 100_000
Scalable = Deployment | ReplicaSet


def scale_of(workload: Scalable) -> Json:
    known = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    metadata = {field: getattr(workload.metadata, field) for field in known}
    selector = workload.spec.selector.matchLabels
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {field: value for field, value in metadata.items() if value},
        "spec": {"replicas": workload.spec.replicas} if workload.spec.replicas else {},
        "status": {
            "replicas": workload.status.replicas,
            "selector": ",".join(f"{key}={value}" for key, value in sorted(selector.items())),
        },
    }


def scaled(workload: Scalable, body: Any) -> Object:
    """The workload as a Scale wants it, with the Scale's resourceVersion. Raises RequestError."""
    body = without_nulls(body)
    spec = body.get("spec") if isinstance(body, dict) else None
    if not isinstance(spec, dict):
        raise RequestError(f"Scale: spec: expected a mapping, got {describe(spec)}")
    replicas = spec.get("replicas", 0)
    if isinstance(replicas, bool) or not isinstance(replicas, int):
        raise RequestError(f"Scale: spec.replicas: expected a whole number, got {describe(replicas)}")
    if not 0 <= replicas <= REPLICAS:
        message = f"spec.replicas: Invalid value: {shorten(str(replicas))}: must be from 0 to {REPLICAS}"
        raise RequestError(message, "", "Invalid", 422)
    metadata = body.get("metadata")
    revision = metadata.get("resourceVersion", "") if isinstance(metadata, dict) else ""
    changed: Any = workload
    new: Object = replace(
        changed,
        metadata=replace(workload.metadata, resourceVersion=str(revision)),
        spec=replace(changed.spec, replicas=replicas),
    )
    return new
