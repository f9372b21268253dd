"""A deletion that lets what the object owned stay.

In Kubernetes a finalizer makes the garbage collector do that. Here an object and what refers to it change in one write,
so that no controller sees one without the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from msgspec.structs import replace

from k8snetlab.api.meta import Object
from k8snetlab.api.selection import owned
from k8snetlab.cluster.cluster import EDITS, Cluster
from k8snetlab.controllers import Write
from k8snetlab.errors import ConflictError, NotFoundError


class Cascade:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def orphan(self, obj: Object, refuse: Callable[[Object], None]) -> None:
        """Deletes the object; what it owned stays, and no longer says that it is owned. `refuse` may raise."""
        for attempt in itertools.count(1):
            refuse(self._cluster.current(type(obj), obj.name, obj.namespace))
            freed = [Write("update", _freed(one, obj)) for one in owned(obj, self._cluster.snapshot)]
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


def _freed(obj: Object, owner: Object) -> Object:
    others = tuple(one for one in obj.metadata.ownerReferences if one.uid != owner.metadata.uid)
    return replace(obj, metadata=replace(obj.metadata, ownerReferences=others))
