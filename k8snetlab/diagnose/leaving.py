"""Objects that were deleted and do not go, since finalizers keep them that nobody takes away."""

from __future__ import annotations

import json
from collections.abc import Iterator

from k8snetlab.api.ages import moment
from k8snetlab.api.core import Namespace, Pod
from k8snetlab.api.kinds import kinds_of
from k8snetlab.api.meta import FOREGROUND, Object
from k8snetlab.api.problems import title
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.diagnose.finding import Finding

PATIENCE = 30.0
"""Seconds that who put a finalizer there has for what it does before it takes that away."""
MOST = 5
"""Objects that are named one by one, at most."""


def kept(snapshot: Snapshot, now: float) -> Iterator[Finding]:
    """`now` is in seconds since 1970."""
    found = [one for type_ in snapshot.types() for one in snapshot.all(type_).values() if _is_kept(one, now)]
    for one in found[:MOST]:
        yield _finding(one, snapshot)
    if len(found) > MOST:
        names = ", ".join(title(one) for one in found[MOST : 2 * MOST])
        rest = f" and {len(found) - 2 * MOST} more" if len(found) > 2 * MOST else ""
        yield Finding(
            kind="object",
            fault="kept",
            node="",
            object="others",
            message=f"finalizers keep {len(found) - MOST} more deleted objects: {names}{rest}",
            consequence="they stay until their finalizers are taken away",
            show="kubectl get KIND NAME -o jsonpath='{.metadata.finalizers}'",
        )


def _is_kept(obj: Object, now: float) -> bool:
    since = moment(obj.metadata.deletionTimestamp or "")
    return bool(_others(obj)) and since is not None and now - since > PATIENCE


def _others(obj: Object) -> tuple[str, ...]:
    """Those that somebody else must take away: for the garbage collector's it is enough that what is owned goes."""
    return tuple(name for name in obj.metadata.finalizers if name != FOREGROUND)


def _finding(obj: Object, snapshot: Snapshot) -> Finding:
    names = ", ".join(_others(obj))
    resource = kinds_of(snapshot).of(type(obj))
    at = f"{resource.plural if resource else obj.KIND} {obj.name}" + (f" -n {obj.namespace}" if obj.namespace else "")
    left = [name for name in obj.metadata.finalizers if name == FOREGROUND]
    patch = json.dumps({"metadata": {"finalizers": left or None}})
    return Finding(
        kind="object",
        fault="kept",
        node="",
        object=title(obj),
        message=f"{title(obj)} was deleted at {obj.metadata.deletionTimestamp} and stays: {names} keeps it",
        consequence=_consequence(obj, snapshot),
        show=f"kubectl get {at} -o yaml",
        mend=f"kubectl patch {at} --type=merge -p '{patch}'  # where nobody is there to do what it stands for",
    )


def _consequence(obj: Object, snapshot: Snapshot) -> str:
    said = "who deletes it waits, and its name is not free"
    space = snapshot.get(Namespace, obj.namespace) if obj.namespace else None
    if space is not None and space.metadata.deletionTimestamp:
        said += f"; namespace {obj.namespace} stays Terminating for it"
    return f"{said}; its containers have ended" if isinstance(obj, Pod) and obj.ended else said
