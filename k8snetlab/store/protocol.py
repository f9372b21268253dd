"""What every store can do.

Semantics are etcd v3's (etcd API guarantees): one revision counter for the whole store, which every write raises, and a
watch delivers every event after a revision exactly once and in order.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Literal, Protocol, TypeAlias

import msgspec

from k8snetlab.errors import AlreadyExistsError, CompactedError, ConflictError, K8sNetLabError, NotFoundError


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
    """A change. A deleted entry has an empty value, `create_revision` 0 and as `mod_revision` that of the deletion."""

    type: Literal["put", "delete"]
    entry: Entry


class Create(msgspec.Struct, frozen=True):
    """One write of `Store.write_many`; the fields are the arguments of `Store.create`."""

    key: str
    value: bytes
    lease: int = 0


class Update(msgspec.Struct, frozen=True):
    """One write of `Store.write_many`; the fields are the arguments of `Store.update`."""

    key: str
    value: bytes
    mod_revision: int
    lease: int = 0


class Delete(msgspec.Struct, frozen=True):
    """One write of `Store.write_many`; the fields are the arguments of `Store.delete`."""

    key: str
    mod_revision: int | None = None


StoreWrite: TypeAlias = Create | Update | Delete


def refusal(write: StoreWrite, have: Entry | None) -> K8sNetLabError | None:
    """Why `write` is refused for a key that holds `have`; None when it is not."""
    if isinstance(write, Create):
        return AlreadyExistsError(f"{write.key} exists already") if have else None
    if isinstance(write, Delete) and not have:
        return NotFoundError(f"{write.key} does not exist")
    if have and write.mod_revision in (None, have.mod_revision):
        return None
    state = f"is at revision {have.mod_revision}" if have else "is gone"
    return ConflictError(
        f"{write.key} {state}, not at {write.mod_revision}: someone else changed it", "read it again and retry"
    )


class Health(msgspec.Struct, frozen=True):
    """`age` is the seconds since the store last answered (None: never), `problem` why it does not answer now."""

    healthy: bool
    age: float | None
    problem: str = ""


LEADERLESS = "it knows no leader"
"""The problem of a member that answers, and cannot do anything."""


class Member(msgspec.Struct, frozen=True):
    """One of the servers that a store is made of: whether it leads, Raft's term and index, and the newest revision that
    it has. `problem` says why it is of no use now."""

    endpoint: str
    leads: bool = False
    term: int = 0
    index: int = 0
    revision: int = 0
    problem: str = ""


class DataLostError(CompactedError):
    """The store is not the one that was watched: it came back empty, or from an old copy. List again, and do not take
    what is missing for deleted."""


class Store(Protocol):
    """Raises StoreError when the store does not answer; never returns half a result."""

    async def get(self, key: str) -> Entry | None: ...

    async def list(self, prefix: str, revision: int = 0) -> Listing:
        """As of `revision`, 0 for now; raises CompactedError when that revision is no longer kept."""
        ...

    async def newest(self, prefix: str) -> tuple[int, int]:
        """How many entries there are below a prefix, and the revision of the last that was written; (0, 0) for none.
        Cheaper than `list`, for who wants to know whether he has them all."""
        ...

    async def create(self, key: str, value: bytes, lease: int = 0) -> Entry:
        """Raises AlreadyExistsError when the key exists."""
        ...

    async def update(self, key: str, value: bytes, mod_revision: int, lease: int = 0) -> Entry:
        """Compare and swap; raises ConflictError when the key is not at `mod_revision` (or is gone)."""
        ...

    async def delete(self, key: str, mod_revision: int | None = None) -> int:
        """The revision of the deletion; raises NotFoundError, or ConflictError when not at `mod_revision`."""
        ...

    async def write_many(self, writes: Sequence[StoreWrite]) -> Sequence[Event | K8sNetLabError]:
        """Many writes in order, faster than one by one. Each succeeds or is refused on its own, and is answered with
        its event or its error. Raises StoreError when the store fails; some may be done by then.
        """
        ...

    async def write_together(self, writes: Sequence[StoreWrite]) -> Sequence[Event]:
        """Writes of different keys, 60 at most, of which all are done, at one point of time, or none.

        Raises what refuses the first that is refused.
        """
        ...

    def watch(self, prefix: str, revision: int) -> AsyncGenerator[tuple[Event, ...], None]:
        """Events after `revision`, in batches as they come, through reconnects.

        Raises CompactedError (list again) when events after `revision` are no longer kept, DataLostError when the
        store never came to `revision`.
        """
        ...

    async def grant(self, ttl: int) -> int:
        """A lease of `ttl` seconds (a store may raise it, etcd to 2); its keys are deleted when it expires."""
        ...

    async def keep_alive(self, lease: int) -> int:
        """Seconds left after renewal; raises NotFoundError when the lease has expired."""
        ...

    async def time_to_live(self, lease: int) -> float:
        """Seconds left without renewal; raises NotFoundError when the lease has expired."""
        ...

    async def revoke(self, lease: int) -> None:
        """End the lease and delete its keys; raises NotFoundError when it has ended already."""
        ...

    def health(self) -> Health: ...

    async def close(self) -> None: ...
