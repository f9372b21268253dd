"""What every object carries: metadata, label selectors, owner references.

Source: Kubernetes API conventions, meta/v1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar, dataclass_transform

import msgspec
from msgspec import Meta

from k8snetlab.api.requirements import holds

Port = Annotated[int, Meta(ge=1, le=65535)]
Labels = Mapping[str, str]

OrBlank = Meta(extra={"blank": True})
"""In a manifest the empty string stands for the field's default; it never comes as far as an object."""
Required = Meta(extra={"required": True})
"""A manifest must have the field, although the type has a default."""

FOREGROUND = "foregroundDeletion"
"""The finalizer of an object that is to go after what it owns."""
SOURCE = "k8snetlab/source"
"""Annotation: where the object was written, "services.yaml:14"."""
ATTACHED = "k8snetlab/attached"
"""Annotation of a Pod whose namespace is not the lab's: which one it was."""


T = TypeVar("T")


def always(default: T) -> T:
    """The default of a field that is written out even where it holds that: one that Kubernetes' server fills in, or
    that its Go type has no `omitempty` for (a struct, a required field). Every other field is left out then."""
    value: T = msgspec.field(default_factory=lambda: default)  # a factory's product is never taken for the default
    return value


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class ValueMeta(msgspec.StructMeta):
    """Tells type checkers that what derives from a Value is frozen and keyword-only too."""


class Value(msgspec.Struct, metaclass=ValueMeta, frozen=True, omit_defaults=True, kw_only=True):
    """Base of all API values: immutable, encoded without the fields that hold their default (but for `always`)."""


class OwnerReference(Value):
    apiVersion: str
    kind: str
    name: str
    uid: str = always("")
    controller: bool = False
    blockOwnerDeletion: bool = False


class ManagedFields(Value):
    """Which fields a manager owns: `operation` is Apply or Update, `fieldsV1` a tree of paths. The API's
    ManagedFieldsEntry."""

    manager: str = ""
    operation: str = ""
    apiVersion: str = ""
    time: str | None = None
    fieldsType: str = always("FieldsV1")
    fieldsV1: Mapping[str, Any] = {}
    subresource: str = ""


class ObjectMeta(Value):
    """`resourceVersion` is the store's revision of the last change, as a string; "" before the object is stored. An
    object that is deleted stays, with a `deletionTimestamp`, until it has no `finalizers` any more."""

    name: str = ""
    namespace: str = ""
    labels: Labels = {}
    annotations: Mapping[str, str] = {}
    uid: str = ""
    resourceVersion: str = ""
    generation: int = 0
    creationTimestamp: str | None = None
    deletionTimestamp: str | None = None
    deletionGracePeriodSeconds: int | None = None
    ownerReferences: tuple[OwnerReference, ...] = ()
    generateName: str = ""
    finalizers: tuple[str, ...] = ()
    managedFields: tuple[ManagedFields, ...] = ()


class LabelSelectorRequirement(Value):
    key: str
    operator: str
    values: tuple[str, ...] = ()


class LabelSelector(Value):
    """Source: meta/v1 LabelSelector; an empty one matches everything."""

    matchLabels: Labels = {}
    matchExpressions: tuple[LabelSelectorRequirement, ...] = ()

    def matches(self, labels: Labels) -> bool:
        for key, value in self.matchLabels.items():  # a loop: this is asked of every pod of every ReplicaSet
            if labels.get(key) != value:
                return False
        return not self.matchExpressions or all(
            holds(one.key, one.operator, one.values, labels) for one in self.matchExpressions
        )


class Object(Value):
    """Base of all kinds. `namespaced` tells whether `metadata.namespace` names one ("default" where left out),
    `counted` whether `metadata.generation` counts the changes of its spec, `lined` whether the lines of its spec's
    fields are kept (`lines`).

    `REPORTS`: objects of the kind only report what happened, as Events do. Nothing follows from them, so a Snapshot
    keeps them apart from the others, and nobody who waits for a change of the others is woken.
    `REFERENCE`: its type in `reference`, where that is not called as the kind.
    """

    KIND: ClassVar[str]
    API_VERSION: ClassVar[str]
    REFERENCE: ClassVar[str] = ""
    REPORTS: ClassVar[bool] = False
    namespaced: ClassVar[bool] = True
    counted: ClassVar[bool] = False
    lined: ClassVar[bool] = False

    metadata: ObjectMeta = always(ObjectMeta())

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """The namespace, "" for kinds that have none."""
        return (self.metadata.namespace or "default") if self.namespaced else ""

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name): unique within the kind."""
        return (self.namespace, self.metadata.name)

    @property
    def short_name(self) -> str:
        """As people say it and commands take it: the name, with "namespace/" before it unless that is default."""
        return self.name if self.namespace in ("", "default") else f"{self.namespace}/{self.name}"

    @property
    def source(self) -> str:
        """Where a person wrote this object, "file:line", or ""."""
        return self.metadata.annotations.get(SOURCE, "")
