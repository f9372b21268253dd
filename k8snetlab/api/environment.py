"""Where a container's variables come from, besides what is written. Source: Kubernetes API reference, core/v1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from k8snetlab.api.meta import OrBlank, Value, always


class ObjectFieldSelector(Value):
    """A field of the pod: metadata.name, metadata.labels['app'], status.podIP, …"""

    fieldPath: str
    apiVersion: Annotated[str, OrBlank] = always("v1")


class ResourceFieldSelector(Value):
    """limits.cpu, requests.memory, …, divided by `divisor` and rounded up."""

    resource: str
    containerName: str = ""
    divisor: str = always("0")


class KeySelector(Value):
    """A key of a ConfigMap or a Secret of the pod's namespace; where it is `optional`, it may be missing."""

    key: str
    name: str = ""
    optional: bool | None = None


class EnvVarSource(Value):
    """One of them is given. A fileKeyRef is kept, and gives nothing."""

    fieldRef: ObjectFieldSelector | None = None
    resourceFieldRef: ResourceFieldSelector | None = None
    configMapKeyRef: KeySelector | None = None
    secretKeyRef: KeySelector | None = None
    fileKeyRef: Mapping[str, Any] | None = None


class WholeSource(Value):
    """All keys of a ConfigMap or a Secret."""

    name: str = ""
    optional: bool | None = None


class EnvFromSource(Value):
    """`prefix` stands before every name."""

    prefix: str = ""
    configMapRef: WholeSource | None = None
    secretRef: WholeSource | None = None
