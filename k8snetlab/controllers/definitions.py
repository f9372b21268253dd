"""CustomResourceDefinitions: whether their names are free, and the end of a deleted one's objects.

Source: apiextensions-apiserver pkg/controller/status (naming_controller.go, establish), pkg/controller/finalizer.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from k8snetlab.api.core import Condition
from k8snetlab.api.extensions import (
    CLEANUP,
    ESTABLISHED,
    NAMES_ACCEPTED,
    TERMINATING,
    CustomResourceDefinition,
    DefinitionStatus,
)
from k8snetlab.api.kinds import type_of
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.changes import Answer, put, remove, with_condition


def reconcile(now: Snapshot, before: Snapshot | None) -> Iterator[Answer]:
    changed = set(now.changes(CustomResourceDefinition, before))
    groups = {key[1].partition(".")[2] for key in changed}
    for key, one in now.all(CustomResourceDefinition).items():
        if one.metadata.deletionTimestamp:
            if key in changed or now.changes(type_of(one), before):
                yield from _ended(one, now)
        elif one.spec.group in groups:
            status = _named(one, now)
            if status != one.status:
                yield put(replace(one, status=status))


def _ended(one: CustomResourceDefinition, now: Snapshot) -> Iterator[Answer]:
    """Of a deleted definition: its objects go first."""
    if CLEANUP not in one.metadata.finalizers:
        return
    objects = now.all(type_of(one)).values()
    for obj in objects:
        yield from remove(obj, now)
    if not objects:
        finalizers = tuple(name for name in one.metadata.finalizers if name != CLEANUP)
        yield put(replace(one, metadata=replace(one.metadata, finalizers=finalizers)))
        return
    message = "CustomResource deletion is in progress"
    condition = Condition(type=TERMINATING, status="True", reason="InstanceDeletionInProgress", message=message)
    conditions = with_condition(one.status.conditions, condition)
    if conditions != one.status.conditions:
        yield put(replace(one, status=replace(one.status, conditions=conditions)))


def _named(one: CustomResourceDefinition, now: Snapshot) -> DefinitionStatus:
    """Its status: which of its names are its own, since nobody else in the group had them before."""
    status, names = one.status, one.spec.names
    wrong = _taken(one, now)
    accepted = status.acceptedNames if wrong else names
    said = wrong or Condition(type=NAMES_ACCEPTED, status="True", reason="NoConflicts", message="no conflicts found")
    conditions = with_condition(status.conditions, said)
    if not wrong:
        message = "the initial names have been accepted"
        established = Condition(type=ESTABLISHED, status="True", reason="InitialNamesAccepted", message=message)
    else:
        message = "not all names are accepted"
        established = Condition(type=ESTABLISHED, status="False", reason="NotAccepted", message=message)
    if not wrong or not one.is_true(ESTABLISHED):
        conditions = with_condition(conditions, established)
    versions = status.storedVersions
    if one.stored_version not in versions:
        versions = (*versions, one.stored_version)
    return DefinitionStatus(conditions=conditions, acceptedNames=accepted, storedVersions=versions)


def _taken(one: CustomResourceDefinition, now: Snapshot) -> Condition | None:
    """The condition that says which name another definition of the group has."""
    resources, kinds = dict[str, str](), dict[str, str]()
    for other in now.all(CustomResourceDefinition).values():
        accepted = other.status.acceptedNames
        if other.name != one.name and other.spec.group == one.spec.group and accepted:
            resources |= dict.fromkeys((accepted.plural, accepted.singular, *accepted.shortNames), other.name)
            kinds |= dict.fromkeys((accepted.kind, accepted.listKind), other.name)
    for reason, names, taken in (
        ("PluralConflict", (one.spec.names.plural,), resources),
        ("SingularConflict", (one.spec.names.singular,), resources),
        ("ShortNamesConflict", one.spec.names.shortNames, resources),
        ("KindConflict", (one.spec.names.kind,), kinds),
        ("ListKindConflict", (one.spec.names.listKind,), kinds),
    ):
        for name in names:
            if name in taken:
                message = f'"{name}" is already in use'
                return Condition(type=NAMES_ACCEPTED, status="False", reason=reason, message=message)
    return None
