"""Namespaces: the system's own, those that objects are in, and the end of what is in a deleted one.

Source: Kubernetes pkg/controller/namespace/deletion (namespaced_resources_deleter.go, status_condition_utils.go).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from msgspec.structs import replace

from k8snetlab.api.core import Condition, Namespace
from k8snetlab.api.meta import Object, ObjectMeta
from k8snetlab.api.scheme import resource_of
from k8snetlab.api.snapshot import Change, Snapshot
from k8snetlab.controllers.changes import put, remove, with_condition

KEPT = "kubernetes"
"""The finalizer that keeps a namespace until it is empty."""
SYSTEM = ("default", "kube-system", "kube-public", "kube-node-lease")


def reconcile(now: Snapshot, before: Snapshot | None) -> Iterator[Change]:
    changed = {name for _, name in now.changes(Namespace, before)}
    gone = {name for name in changed if not now.get(Namespace, name)} - set(SYSTEM)
    if gone:
        for type_ in _namespaced(now):
            for obj in now.all(type_).values():
                if obj.namespace in gone:
                    yield from remove(obj, now)
    touched = set(_touched(now, before))
    for name in changed | touched:
        namespace = now.get(Namespace, name)
        if namespace is not None and namespace.metadata.deletionTimestamp:
            yield from _ended(namespace, now)
    wanted = dict.fromkeys(SYSTEM) if changed or not before else {}
    wanted |= dict.fromkeys(name for name in _touched(now, before, living=True) if name not in gone)
    for name in wanted:
        if not now.get(Namespace, name):
            yield put(Namespace(metadata=ObjectMeta(name=name, labels={"kubernetes.io/metadata.name": name})))


def _touched(now: Snapshot, before: Snapshot | None, living: bool = False) -> Iterator[str]:
    """The namespaces of what has changed, or of that what is there and stays (`living`)."""
    for type_ in dict.fromkeys((*_namespaced(now), *(_namespaced(before) if before else ()))):
        if not type_.REPORTS:
            objects = now.all(type_)
            for key in now.changes(type_, before):
                new = objects.get(key)
                if not living or (new is not None and not new.metadata.deletionTimestamp):
                    yield key[0]


def _ended(namespace: Namespace, now: Snapshot) -> Iterator[Change]:
    """Of a deleted namespace: all that is in it goes, and then what keeps it."""
    if KEPT not in namespace.spec.finalizers:
        return
    remaining: list[Object] = []
    for type_ in _namespaced(now):
        for obj in now.all(type_).values():
            if obj.namespace == namespace.name:
                remaining += [] if type_.REPORTS else [obj]
                yield from remove(obj, now)
    if not remaining:
        finalizers = tuple(name for name in namespace.spec.finalizers if name != KEPT)
        yield put(replace(namespace, spec=replace(namespace.spec, finalizers=finalizers)))
        return
    conditions = namespace.status.conditions
    for condition in _conditions(remaining):
        conditions = with_condition(conditions, condition)
    if conditions != namespace.status.conditions:
        yield put(replace(namespace, status=replace(namespace.status, conditions=conditions)))


def _conditions(remaining: list[Object]) -> Iterator[Condition]:
    content, finalizers = (
        Counter(map(_resource, remaining)),
        Counter(f for o in remaining for f in o.metadata.finalizers),
    )
    for type_, reason, message in (
        ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
    ):
        yield Condition(type=type_, status="False", reason=reason, message=message)
    listed = ", ".join(f"{resource} has {count} resource instances" for resource, count in sorted(content.items()))
    yield Condition(
        type="NamespaceContentRemaining",
        status="True",
        reason="SomeResourcesRemain",
        message=f"Some resources are remaining: {listed}",
    )
    kept = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(finalizers.items()))
    yield Condition(
        type="NamespaceFinalizersRemaining",
        status=str(bool(kept)),
        reason="SomeFinalizersRemain" if kept else "ContentHasNoFinalizers",
        message=f"Some content in the namespace has finalizers remaining: {kept}"
        if kept
        else "All content-preserving finalizers finished",
    )


def _resource(obj: Object) -> str:
    """As the condition names its kind: pods., deployments.apps."""
    return f"{resource_of(obj).plural}.{obj.API_VERSION.rpartition('/')[0]}"


def _namespaced(now: Snapshot) -> list[type[Object]]:
    return [type_ for type_ in now.types() if type_.namespaced]
