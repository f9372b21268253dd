"""What every store can do.

Semantics are etcd v3's (etcd API guarantees): one revision counter for the whole store, each write raises it by one, and
a watch delivers every event after a revision exactly once and in order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal, Protocol

import msgspec


class Entry(msgspec.Struct, frozen=True):
    """One key. `mod_revision` is the store's revision at its last change, `create_revision` at its creation."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    lease: int = 0


class Listing(msgspec.Struct, frozen=True):
    """All entries below a prefix, sorted by key, as they were at `revision`."""

    entries: tuple[Entry, ...]
    revision: int


class Event(msgspec.Struct, frozen=True):
    """A change. A deleted entry has an empty value and the deletion's revision as `mod_revision`."""

    type: Literal["put", "delete"]
    entry: Entry


class Store(Protocol):
    """Raises StoreError when the store does not answer; never returns half a result."""

    async def get(self, key: str) -> Entry | None: ...

    async def list(self, prefix: str) -> Listing: ...

    async def create(self, key: str, value: bytes, lease: int = 0) -> Entry:
        """Raises AlreadyExistsError when the key exists."""
        ...

    async def update(self, key: str, value: bytes, mod_revision: int, lease: int = 0) -> Entry:
        """Compare and swap; raises ConflictError when the key is not at `mod_revision` (or is gone)."""
        ...

    async def delete(self, key: str, mod_revision: int | None = None) -> int:
        """The revision of the deletion; raises NotFoundError, or ConflictError when not at `mod_revision`."""
        ...

    def watch(self, prefix: str, revision: int) -> AsyncIterator[tuple[Event, ...]]:
        """Events after `revision`, in batches as they come, through reconnects; raises CompactedError: list again."""
        ...

    async def grant(self, ttl: int) -> int:
        """A lease of `ttl` seconds; its keys are deleted when it expires."""
        ...

    async def keep_alive(self, lease: int) -> int:
        """Seconds left after renewal; raises NotFoundError when the lease has expired."""
        ...

    async def revoke(self, lease: int) -> None: ...

    async def close(self) -> None: ...
