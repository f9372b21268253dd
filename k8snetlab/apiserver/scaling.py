"""The part `scale` of workloads: how many pods are wanted, as autoscaling/v1 Scale. Pure.

Source: k8s.io/api/autoscaling/v1, pkg/registry/apps/deployment/storage (ScaleREST).
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from k8snetlab.api.custom import Custom
from k8snetlab.api.extensions import ScaleSubresource
from k8snetlab.api.jsonpath import find, parse
from k8snetlab.api.meta import LabelSelector, Object
from k8snetlab.api.scheme import Resource, without_nulls
from k8snetlab.api.words import describe, shorten
from k8snetlab.api.workloads import Replicated
from k8snetlab.errors import RequestError

Json = dict[str, Any]
REPLICAS = 100_000
Scalable = Replicated


def scale_of(obj: Object, resource: Resource) -> Json:
    """Of a workload, or an object of a kind that users bring with that part. Raises RequestError (404)."""
    known = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    metadata = {field: getattr(obj.metadata, field) for field in known}
    wanted, there, selector = _numbers(obj, resource)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {field: value for field, value in metadata.items() if value},
        "spec": {"replicas": wanted} if wanted else {},
        "status": {"replicas": there, **({"selector": selector} if selector else {})},
    }


def _numbers(obj: Object, resource: Resource) -> tuple[int, int, str]:
    """How many are wanted, how many there are, and by which labels they are found."""
    paths = resource.defined.subresources.scale if resource.defined else None
    if isinstance(obj, Custom) and paths is not None:
        return _number(obj, paths.specReplicasPath), _number(obj, paths.statusReplicasPath), _selector(obj, paths)
    if not isinstance(obj, Scalable):
        raise RequestError(f"a {obj.KIND} cannot be scaled", "scale a deployment or a replicaset", "NotFound", 404)
    selector = obj.spec.selector
    labels = sorted((selector.matchLabels if isinstance(selector, LabelSelector) else selector).items())
    return obj.spec.replicas, obj.status.replicas, ",".join(f"{key}={value}" for key, value in labels)


def _number(obj: Custom, path: str) -> int:
    found = find(obj.content, parse(path))
    return found[0] if found and type(found[0]) is int else 0


def _selector(obj: Custom, paths: ScaleSubresource) -> str:
    found = find(obj.content, parse(paths.labelSelectorPath)) if paths.labelSelectorPath else ()
    return found[0] if found and isinstance(found[0], str) else ""


def _with_replicas(obj: Object, resource: Resource, replicas: int) -> Object:
    paths = resource.defined.subresources.scale if resource.defined else None
    changed: Any = obj
    new: Object
    if isinstance(obj, Custom) and paths is not None:
        content = msgspec.json.decode(msgspec.json.encode(obj.content))
        *way, last = (str(step) for step in parse(paths.specReplicasPath))
        holder = content
        for step in way:
            holder = holder.setdefault(step, {})
            if not isinstance(holder, dict):
                raise RequestError(f"{paths.specReplicasPath}: {step} is no mapping", "", "Invalid", 422)
        holder[last] = replicas
        new = replace(changed, content=content)
    else:
        new = replace(changed, spec=replace(changed.spec, replicas=replicas))
    return new


def scaled(obj: Object, resource: Resource, body: Any) -> Object:
    """The object as a Scale wants it, with the Scale's resourceVersion. Raises RequestError."""
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
    new = _with_replicas(obj, resource, replicas)
    return replace(new, metadata=replace(obj.metadata, resourceVersion=str(revision)))
