"""An address or node port is given once, also where several daemons write to one store.

Each of them chooses what is free by its own Snapshot, which others' writes reach a moment later; who runs the
controllers is no guard, since a daemon may stand still while another takes over. So a write that gives an address
carries the fence along, a key that every such write changes. The store takes both or neither, and only where the fence
is as the Snapshot knows it: nobody has given anything meanwhile. Else the daemon looks again, and chooses anew.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from k8snetlab.api.core import Service
from k8snetlab.api.meta import Object
from k8snetlab.api.networking import IPAddress
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.admitted import Planned, values
from k8snetlab.errors import AlreadyExistsError, ConflictError, K8sNetLabError, NotFoundError, StoreError
from k8snetlab.store.informer import FENCE, Informer
from k8snetlab.store.protocol import Create, Event, Store, StoreWrite, Update

R = TypeVar("R")
TRIES = 100
TOGETHER = 40
"""Writes that one fence goes with; etcd takes 128 conditions at once, of which a write has two."""
PATIENCE = 15.0
"""Seconds in which the watch has to tell of what another daemon gave."""


class FencedError(ConflictError):
    """Another daemon has given an address since this one looked."""


class Fence:
    """One daemon's; no two write the same value, so that one whose answer is lost can be told from another's."""

    def __init__(self, store: Store, informer: Informer) -> None:
        self._store, self._informer = store, informer
        self._name, self._numbers = uuid.uuid4().hex, itertools.count(1)

    async def chosen(self, write: Callable[[], Awaitable[R]]) -> R:
        """A write that may give addresses, made anew for as long as other daemons are quicker. Raises ConflictError,
        StoreError."""
        for _ in range(TRIES):
            try:
                return await write()
            except FencedError:
                await self.seen()
        raise ConflictError("other daemons gave addresses again and again, each a moment earlier", "try again")

    async def write(self, planned: Sequence[Planned], store: Store) -> dict[str, Event | K8sNetLabError]:
        """What became of writes that give addresses, by their keys; the snapshot has those that were done. Each is
        done or refused on its own, but none where others were quicker: then all that are left are a FencedError.

        Nothing may be awaited between the look at the snapshot that they were chosen by and this call.
        """
        at, results = self._informer.fence, dict[str, Event | K8sNetLabError]()
        waiting = [planned[start : start + TOGETHER] for start in range(0, len(planned), TOGETHER)]
        while waiting:
            group = waiting.pop(0)
            keys = [write.key for write, _ in group]
            try:
                *done, fence = await store.write_together([*(write for write, _ in group), self._moved(at)])
            except (ConflictError, AlreadyExistsError, NotFoundError) as refused:
                entry = await store.get(FENCE)
                if (entry.mod_revision if entry else 0) != at:
                    passed = FencedError("another daemon has given an address meanwhile", "try again")
                    return results | dict.fromkeys(
                        (write.key for write, _ in planned if write.key not in results), passed
                    )
                if len(group) > 1:
                    waiting[:0] = [[one] for one in group]
                else:
                    results[keys[0]] = refused
                continue
            at = fence.entry.mod_revision
            self._informer.apply_local(*done, fence, made=values(group))
            results |= zip(keys, done, strict=True)
        return results

    def _moved(self, at: int) -> StoreWrite:
        value = f"{self._name} {next(self._numbers)}".encode()
        return Update(FENCE, value, at) if at else Create(FENCE, value)

    async def seen(self) -> None:
        """Waits until the Snapshot has what others gave. Raises StoreError."""
        entry = await self._store.get(FENCE)
        try:
            async with asyncio.timeout(PATIENCE):
                await self._informer.reached(entry.mod_revision if entry else 0)
        except TimeoutError:
            message = f"the store's watch does not tell of {FENCE} within {PATIENCE:.0f} s"
            raise StoreError(message, "the store is slow, or its connection breaks: try again") from None


def gives(obj: Object, snapshot: Snapshot) -> bool:
    """Whether the object, stored, takes addresses or node ports that its namesake in the snapshot has not."""
    if not isinstance(obj, Service | IPAddress):
        return False
    if isinstance(obj, IPAddress):
        return snapshot.get(IPAddress, obj.name) is None
    old = snapshot.get(Service, obj.name, obj.namespace)
    return old is None or not _taken(obj) <= _taken(old)


def _taken(service: Service) -> set[object]:
    spec = service.spec
    ports = {(port.protocol, port.nodePort) for port in spec.ports if port.nodePort}
    return {*(ip for ip in spec.clusterIPs if ip != "None"), *ports, ("health", spec.healthCheckNodePort)}
