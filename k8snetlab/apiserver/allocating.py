"""One API server after the other gives addresses and node ports, where several write to one store.

Each of them chooses what is free by its own Snapshot, which others' writes reach a moment later. So a server that is to
choose takes the one key for it first, and looks only once its Snapshot has come as far as the key: every choice made
before is in it. (A real one keeps its ranges below the same prefix: pkg/registry/core/service/allocator/storage.)
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from k8snetlab.errors import AlreadyExistsError, K8sNetLabError, StoreError
from k8snetlab.store.informer import Informer
from k8snetlab.store.protocol import Store

KEY = "/registry/ranges/turn"
TTL = 5
"""Seconds after which the key of a server that has died goes."""
PATIENCE = 15.0
"""Seconds that a write waits for its turn."""
PAUSE = 0.005
"""Seconds between two tries, at first."""


class Turns:
    """Of one server; `name` tells it from all others."""

    def __init__(self, store: Store, informer: Informer, name: str) -> None:
        self._store, self._informer, self._name = store, informer, name.encode()
        self._own = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Raises StoreError where the store, or the server whose turn it is, does not come to an end of it."""
        async with self._own:
            lease = await self._store.grant(TTL)
            try:
                await self._taken(lease)
                yield
            finally:
                with contextlib.suppress(K8sNetLabError):  # else the lease ends by itself
                    await self._store.revoke(lease)

    async def _taken(self, lease: int) -> None:
        pause = PAUSE
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    try:
                        entry = await self._store.create(KEY, self._name, lease)
                        break
                    except AlreadyExistsError:
                        await asyncio.sleep(pause)
                        pause = min(2 * pause, 0.1)
                await self._informer.reached(entry.mod_revision)
        except TimeoutError:
            message = f"{KEY}: no turn within {PATIENCE:.0f} s to give a Service its address"
            raise StoreError(message, "another API server of this store hangs, or the store is slow") from None


@contextlib.asynccontextmanager
async def at_once() -> AsyncIterator[None]:
    """Where nobody else writes to the store."""
    yield
