"""What others have just written, where several servers write to one store: a real API server reads from etcd unless it
is told that older will do (resourceVersion=0), so what one has acknowledged no other denies.

Source: apiserver pkg/storage/cacher (Get, GetList, shouldDelegateList).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from k8snetlab.api.networking import IPAddress
from k8snetlab.api.scheme import Resource
from k8snetlab.apiserver.paths import Target
from k8snetlab.apiserver.query import boolean, text
from k8snetlab.apiserver.transport import Request
from k8snetlab.errors import StoreError
from k8snetlab.store.informer import Informer
from k8snetlab.store.protocol import Entry, Store

PATIENCE = 3.0
"""Seconds in which the watch has to tell of a deletion."""
PAUSE = 0.005
"""Seconds between two looks."""


class Freshness:
    def __init__(self, store: Store, informer: Informer) -> None:
        self._store, self._informer = store, informer

    async def of(self, request: Request, target: Target) -> None:
        """The Snapshot has what the request is about as the store has it now. Raises StoreError."""
        resource = target.resource
        if resource.type is IPAddress:
            return  # most of them are made of Services, and in no store
        if target.name:
            entry = await self._store.get(resource.key(target.namespace, target.name))
            await self._take((entry,) if entry else (), resource, target.namespace, target.name)
        elif request.method == "DELETE" or _wants_the_newest(request):
            prefix = resource.key(target.namespace, "") if target.namespace else resource.prefix
            if await self._store.newest(prefix) != self._informer.newest(prefix):
                await self._take((await self._store.list(prefix)).entries, resource, target.namespace)
            await self._followed(self._informer.written)

    async def _followed(self, revision: int) -> None:
        """A watch from the revision of a list shows nothing twice."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._informer.reached(revision)

    async def where_possible(self, request: Request, target: Target) -> None:
        """`of`, but where the store does not answer: what is known stands then."""
        if self._informer.health().healthy:
            with contextlib.suppress(StoreError):
                await self.of(request, target)

    async def _take(self, entries: Iterable[Entry], resource: Resource, namespace: str, name: str = "") -> None:
        held = list(entries)
        self._informer.apply_local(*held)
        keys = {entry.key for entry in held}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while any(key not in keys for key in self._shown(resource, namespace, name)):
                    await asyncio.sleep(PAUSE)

    def _shown(self, resource: Resource, namespace: str, name: str) -> list[str]:
        """The keys of what the Snapshot has."""
        snapshot = self._informer.snapshot
        if name:
            return [resource.key(namespace, name)] if snapshot.get(resource.type, name, namespace) else []
        own = (obj for obj in snapshot.all(resource.type).values() if not namespace or obj.namespace == namespace)
        return [resource.key(obj.namespace, obj.name) for obj in own]


def _wants_the_newest(request: Request) -> bool:
    if request.method != "GET" or boolean(request.values, "watch"):
        return False
    return not text(request.values, "resourceVersion") and not text(request.values, "continue")
