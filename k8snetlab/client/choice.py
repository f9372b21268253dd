"""Which pod is meant by a Deployment, another workload or a Service, as kubectl chooses one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from k8snetlab.api.meta import LabelSelector
from k8snetlab.api.scheme import BY_NAME
from k8snetlab.client.client import Client
from k8snetlab.errors import InputError, NotFoundError

_SELECTING = ("Deployment", "ReplicaSet", "DaemonSet", "StatefulSet", "ReplicationController", "Job", "Service")


def pods_of(client: Client, target: str, namespace: str) -> list[str]:
    """The pods' names, ready ones first. `target` is NAME, pod/NAME or KIND/NAME of what selects pods.

    Raises InputError for another kind, NotFoundError where it selects no pod.
    """
    kind, slash, name = target.partition("/")
    resource = BY_NAME.get(kind.lower().partition(".")[0]) if slash else BY_NAME["pod"]
    if resource is None or resource.kind not in ("Pod", *_SELECTING):
        raise InputError(f"{target}: {kind} has no pods", "POD, or KIND/NAME of a workload or Service")
    if resource.kind == "Pod":
        return [name or target]
    selector = _selector(client.get(resource.kind, name, namespace))
    pods = [pod for pod in client.list("Pod", namespace) if selector.matches(pod["metadata"].get("labels", {}))]
    if not pods:
        wanted = ",".join(f"{k}={v}" for k, v in selector.matchLabels.items() if k)
        hint = f"it selects {wanted}; `k8snetlab get pods -o wide` shows labels" if wanted else "it has no selector"
        raise NotFoundError(f"{resource.kind.lower()} {name!r} has no pods", hint)
    return [pod["metadata"]["name"] for pod in sorted(pods, key=_rank)]


def _selector(obj: Mapping[str, Any]) -> LabelSelector:
    held = obj["spec"].get("selector") or {}
    if obj["kind"] not in ("Service", "ReplicationController"):
        return msgspec.convert(held, LabelSelector)
    # A Service without a selector has no pods at all.
    return LabelSelector(matchLabels=held or {"": ""})


def _rank(pod: Mapping[str, Any]) -> tuple[bool, str]:
    conditions = pod.get("status", {}).get("conditions", ())
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return not ready, pod["metadata"]["name"]
