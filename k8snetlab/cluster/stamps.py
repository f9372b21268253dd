"""Times in the status of objects that controllers look after, which controllers cannot give: they have no clock."""

from __future__ import annotations

from typing import Any, TypeVar

from msgspec.structs import replace

from k8snetlab.api.apps import Deployment
from k8snetlab.api.core import Namespace
from k8snetlab.api.extensions import CustomResourceDefinition
from k8snetlab.api.gateway import Gateway, GatewayClass
from k8snetlab.api.meta import Object
from k8snetlab.api.networking import ServiceCIDR
from k8snetlab.api.routes import ROUTES
from k8snetlab.api.workloads import MAKERS, Job
from k8snetlab.controllers import MOMENT

T = TypeVar("T", bound=Object)
_KINDS: frozenset[type[Object]] = frozenset((*MAKERS, ServiceCIDR, CustomResourceDefinition, Namespace))
_NESTED: frozenset[type[Object]] = frozenset((GatewayClass, Gateway, *ROUTES))


def stamped(obj: T, old: Object | None, now: str) -> T:
    """The object, with `now` (RFC 3339) where its status has no time yet."""
    status: Any = getattr(obj, "status", None)
    if type(obj) in _NESTED and status != getattr(old, "status", None):
        filled: Any = obj
        nested: T = replace(filled, status=_filled(status, now))
        return nested
    if type(obj) not in _KINDS or status == getattr(old, "status", None):
        return obj
    before = {one.type: one for one in old.status.conditions} if old is not None else {}  # type: ignore[attr-defined]
    updated = isinstance(obj, Deployment)
    conditions = tuple(_condition(one, before.get(one.type), now, updated) for one in status.conditions)
    changes: dict[str, Any] = {} if conditions == status.conditions else {"conditions": conditions}
    if isinstance(obj, Job):
        for field in ("startTime", "completionTime"):
            if getattr(status, field) == MOMENT:
                changes[field] = now
    whole: Any = obj
    return replace(whole, status=replace(status, **changes)) if changes else obj


def _filled(part: Any, now: str) -> Any:
    """A status that has conditions in its parts, too; since when they are so the controller says of those that stay."""
    changes: dict[str, Any] = {}
    for field in ("conditions", "listeners", "parents"):
        held = getattr(part, field, ())
        new = tuple(_condition(one, None, now, False) if field == "conditions" else _filled(one, now) for one in held)
        if new != held:
            changes[field] = new
    return replace(part, **changes) if changes else part


def _condition(one: Any, old: Any, now: str, updated: bool) -> Any:
    if one.lastTransitionTime is not None:
        return one
    since = old.lastTransitionTime if old is not None and old.status == one.status else None
    changed: Any = one  # a definition's condition is of a type of its own
    changed = replace(changed, lastTransitionTime=since or now)
    return replace(changed, lastUpdateTime=now) if updated else changed
