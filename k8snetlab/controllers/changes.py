"""What a controller answers: objects to put, objects to remove."""

from __future__ import annotations

from msgspec.structs import replace

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Change, Snapshot

DELETED = "deleted"
"""Stands for the deletionTimestamp that only the server, which has a clock, can give."""


def put(obj: Object) -> Change:
    return type(obj), obj.key, obj


def remove(obj: Object, snapshot: Snapshot) -> tuple[Change, ...]:
    """The removal of an object; a pod on a node is only marked, because it lives until its node has ended it."""
    if isinstance(obj, Pod) and obj.spec.nodeName and snapshot.get(Node, obj.spec.nodeName):
        if obj.metadata.deletionTimestamp:
            return ()
        return (put(replace(obj, metadata=replace(obj.metadata, deletionTimestamp=DELETED))),)
    return ((type(obj), obj.key, None),)


def active(pod: Pod) -> bool:
    """Neither on its way out nor at its end."""
    return not pod.metadata.deletionTimestamp and pod.status.phase not in ("Succeeded", "Failed")
