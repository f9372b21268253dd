"""CustomResourceDefinition: kinds that users bring.

Source: k8s.io/apiextensions-apiserver pkg/apis/apiextensions/v1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from k8snetlab.api.core import Condition
from k8snetlab.api.meta import Object, Value, always

NAMES_ACCEPTED, ESTABLISHED, TERMINATING = "NamesAccepted", "Established", "Terminating"
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
"""The finalizer that keeps a definition until its objects are gone."""


class DefinedNames(Value):
    plural: str
    kind: str
    singular: str = ""
    listKind: str = ""
    shortNames: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


class PrinterColumn(Value):
    name: str
    type: str
    jsonPath: str
    format: str = ""
    description: str = ""
    priority: int = 0


class SelectableField(Value):
    jsonPath: str


class ScaleSubresource(Value):
    specReplicasPath: str
    statusReplicasPath: str
    labelSelectorPath: str = ""


class Subresources(Value):
    status: Mapping[str, Any] | None = None
    scale: ScaleSubresource | None = None


class Validation(Value):
    """`openAPIV3Schema` is a JSONSchemaProps, as it is written: `api.structural` checks it."""

    openAPIV3Schema: Mapping[str, Any] = {}


class DefinedVersion(Value):
    name: str
    served: bool
    storage: bool
    deprecated: bool = False
    deprecationWarning: str | None = None
    schema: Validation = Validation()
    subresources: Subresources = Subresources()
    additionalPrinterColumns: tuple[PrinterColumn, ...] = ()
    selectableFields: tuple[SelectableField, ...] = ()


class Conversion(Value):
    strategy: str = "None"
    webhook: Mapping[str, Any] | None = None


class DefinitionSpec(Value):
    group: str
    names: DefinedNames
    scope: Literal["Namespaced", "Cluster"]
    versions: tuple[DefinedVersion, ...]
    conversion: Conversion = always(Conversion())
    preserveUnknownFields: bool = False


class DefinitionStatus(Value):
    conditions: tuple[Condition, ...] = ()
    acceptedNames: DefinedNames | None = None
    storedVersions: tuple[str, ...] = ()


class CustomResourceDefinition(Object, kw_only=True):
    KIND: ClassVar[str] = "CustomResourceDefinition"
    API_VERSION: ClassVar[str] = "apiextensions.k8s.io/v1"
    namespaced: ClassVar[bool] = False
    counted: ClassVar[bool] = True

    spec: DefinitionSpec
    status: DefinitionStatus = DefinitionStatus()

    @property
    def namespaces(self) -> bool:
        """Whether objects of the kind are in namespaces."""
        return self.spec.scope == "Namespaced"

    @property
    def stored_version(self) -> str:
        """The version in which objects are kept."""
        return next((one.name for one in self.spec.versions if one.storage), "")

    def is_true(self, type_: str) -> bool:
        """Whether a condition holds."""
        return any(one.type == type_ and one.status == "True" for one in self.status.conditions)
