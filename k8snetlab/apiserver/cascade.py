"""A deletion's dependents, where they do not simply follow in the background: they stay, or are waited for.

In Kubernetes finalizers make the garbage collector do that. Here an object and what refers to it change in one write,
so that no controller sees one without the other; a foreground deletion is answered once all that it owned is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from k8snetlab.api.meta import Object
from k8snetlab.api.selection import by_owner
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.cluster import EDITS, Cluster
from k8snetlab.controllers import Write
from k8snetlab.errors import ConflictError, NotFoundError

PATIENCE = 60.0
"""Seconds that a foreground deletion waits for; what is left then goes all the same."""


class Cascade:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def orphan(self, obj: Object, refuse: Callable[[Object], None]) -> None:
        """Deletes the object; what it owned stays, and no longer says that it is owned. `refuse` may raise."""
        for attempt in itertools.count(1):
            refuse(self._cluster.current(type(obj), obj.name, obj.namespace))
            freed = [Write("update", _freed(one, obj)) for one in _owned(obj, self._cluster.snapshot)]
            try:
                outcomes = await self._cluster.write_batch([*freed, Write("delete", obj)], whole=True)
            except (ConflictError, NotFoundError):  # of what it owned
                if attempt == EDITS:
                    raise
                continue
            for outcome in outcomes:
                if outcome is not None:
                    raise outcome
            return

    async def gone(self, obj: Object) -> None:
        """Until nothing is left that the object owned, or owned through others."""
        owners = {obj.metadata.uid: obj}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                async for snapshot in self._cluster.changes():
                    found = [one for owner in list(owners.values()) for one in _owned(owner, snapshot)]
                    owners |= {one.metadata.uid: one for one in found}
                    if not found:
                        return


def _owned(owner: Object, snapshot: Snapshot) -> Iterator[Object]:
    for type_ in snapshot.types():
        for one in snapshot.select(type_, by_owner, (owner.KIND, *owner.key)).values():
            if any(reference.uid == owner.metadata.uid for reference in one.metadata.ownerReferences):
                yield one


def _freed(obj: Object, owner: Object) -> Object:
    others = tuple(one for one in obj.metadata.ownerReferences if one.uid != owner.metadata.uid)
    return replace(obj, metadata=replace(obj.metadata, ownerReferences=others))
