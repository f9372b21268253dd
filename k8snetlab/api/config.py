"""Kinds of the core group, v1, that are kept and answered: ConfigMap, Secret, ServiceAccount. Pods get
variables from the first two.

Source: Kubernetes API reference, core/v1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from k8snetlab.api.core import ObjectReference
from k8snetlab.api.meta import Object, OrBlank, Value, always


class ConfigMap(Object):
    """`binaryData` is in base64."""

    KIND: ClassVar[str] = "ConfigMap"
    API_VERSION: ClassVar[str] = "v1"

    data: Mapping[str, str] = {}
    binaryData: Mapping[str, str] = {}
    immutable: bool | None = None


class Secret(Object):
    """`data` is in base64; `stringData` is only written, and becomes a part of it."""

    KIND: ClassVar[str] = "Secret"
    API_VERSION: ClassVar[str] = "v1"

    data: Mapping[str, str] = {}
    stringData: Mapping[str, str] = {}
    type: Annotated[str, OrBlank] = always("Opaque")
    immutable: bool | None = None


class LocalObjectReference(Value):
    name: str = ""


class ServiceAccount(Object):
    KIND: ClassVar[str] = "ServiceAccount"
    API_VERSION: ClassVar[str] = "v1"

    secrets: tuple[ObjectReference, ...] = ()
    imagePullSecrets: tuple[LocalObjectReference, ...] = ()
    automountServiceAccountToken: bool | None = None
