"""The parts of objects that have a path of their own: status, scale, a namespace's end, and what is asked of a pod.

Source: the table of `kubectl get --raw /api/v1` of kube-apiserver 1.36.
"""

from __future__ import annotations

import msgspec

from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.config import ServiceAccount
from k8snetlab.api.core import Namespace, Pod
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import Resource
from k8snetlab.api.workloads import ReplicationController, StatefulSet

_CHANGED = {"GET": "get", "PATCH": "patch", "PUT": "update"}


class Part(msgspec.Struct, frozen=True):
    """`methods` are those of HTTP; `kind` and `version` are what is sent and answered, "" for the object itself."""

    name: str
    methods: tuple[str, ...] = ("GET", "PUT", "PATCH")
    kind: str = ""
    version: str = ""

    @property
    def verbs(self) -> tuple[str, ...]:
        return tuple(sorted({**_CHANGED, "POST": "create"}[method] for method in self.methods))


STATUS = Part("status")
SCALE = Part("scale", kind="Scale", version="autoscaling/v1")
FINALIZE = Part("finalize", ("PUT",))
BINDING = Part("binding", ("POST",), "Binding", "v1")
EVICTION = Part("eviction", ("POST",), "Eviction", "policy/v1")
STREAMED = ("attach", "exec", "portforward")
"""Parts that are a conversation."""
TOKEN = Part("token", ("POST",), "TokenRequest", "authentication.k8s.io/v1")
OF_KIND: dict[type[Object], tuple[Part, ...]] = {
    Deployment: (SCALE,),
    ReplicaSet: (SCALE,),
    ServiceAccount: (TOKEN,),
    StatefulSet: (SCALE,),
    ReplicationController: (SCALE,),
    Namespace: (FINALIZE,),
    Pod: (
        Part("log", ("GET",)),
        BINDING,
        EVICTION,
        Part("exec", ("GET", "POST"), "PodExecOptions"),
        Part("attach", ("GET", "POST"), "PodAttachOptions"),
        Part("portforward", ("GET", "POST"), "PodPortForwardOptions"),
    ),
}


def parts_of(resource: Resource) -> tuple[Part, ...]:
    """By name."""
    if resource.defined is not None:
        subresources = resource.defined.subresources
        scale = (SCALE,) if subresources.scale is not None else ()
        return (*scale, *((STATUS,) if subresources.status is not None else ()))
    found = (*OF_KIND.get(resource.type, ()), *((STATUS,) if has_status(resource) else ()))
    return tuple(sorted(found, key=lambda part: part.name))


def has_status(resource: Resource) -> bool:
    """Whether a status is written by itself, at the path of that part."""
    if resource.defined is not None:
        return resource.defined.subresources.status is not None
    return "status" in resource.type.__struct_fields__
