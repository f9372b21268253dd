"""What a conversation between two machines' daemons looks like in the store: keys, values, and pieces in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Any, TypeVar

import msgspec

from k8snetlab.errors import K8sNetLabError, NotFoundError, StoreError
from k8snetlab.messages.errors import status_of
from k8snetlab.store.protocol import Store

T = TypeVar("T")
PREFIX = "/k8snetlab/"
REQUESTS = f"{PREFIX}requests/"
RESPONSES = f"{PREFIX}responses/"
TTL = 9
"""Seconds after which a dead daemon's keys are gone from the store."""
CHUNK = 512 << 10
"""Bytes in one key: in base64, twice, still less than etcd's limit of 1.5 MiB for a request."""
WINDOW = 4
"""Parts that may lie in the store unread."""
LIMIT = 64 << 20
"""Bytes in one direction of a conversation: a store keeps for a while what was deleted, and is small."""


class RemoteRequest(msgspec.Struct, frozen=True):
    """`path` has the query. With `goes_on` the body follows in parts below the request's key. `lease` is the asker's:
    what is written under it goes with the asker."""

    method: str
    path: str
    lease: int
    body: bytes = b""
    goes_on: bool = False


class Part(msgspec.Struct, frozen=True):
    """A piece of a body. A `status` of 400 or more makes it, with all that follow, the JSON of a Status."""

    body: bytes
    last: bool
    status: int = 200


def read(key: str, value: bytes, type_: type[T]) -> T:
    """A value that another machine wrote. Raises GarbledError for what cannot be read."""
    try:
        return msgspec.json.decode(value, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GarbledError(f"{key!r} in the store cannot be read: {error}", "who else writes to this store?") from error


class GarbledError(StoreError):
    """What the store holds there is no part of a conversation."""


class Writer:
    """Writes parts below `prefix`, numbered from 1, no more than WINDOW ahead of their reader, who deletes them.

    Raises NotFoundError when the reader's lease has ended, StoreError, also for more than LIMIT bytes.
    """

    def __init__(self, store: Store, prefix: str, lease: int) -> None:
        self._store, self._prefix, self._lease = store, prefix, lease
        self._number = self._bytes = 0

    async def put(self, part: Part) -> None:
        self._bytes += len(part.body)
        if self._bytes > LIMIT:
            raise StoreError(
                f"more than {LIMIT >> 20} MiB will not go through the store to another machine",
                "ask for less of it, or run the command on the node's own machine",
            )
        self._number += 1
        while self._number > WINDOW and await self._store.get(self._key(self._number - WINDOW)) is not None:
            await asyncio.sleep(0.02)
        await self._store.create(self._key(self._number), msgspec.json.encode(part), self._lease)

    async def refuse(self, error: K8sNetLabError) -> None:
        """Breaks off with an error."""
        self._number += 1
        part = Part(msgspec.json.encode(status_of(error)), True, error.status)
        await self._store.create(self._key(self._number), msgspec.json.encode(part), self._lease)

    def _key(self, number: int) -> str:
        return f"{self._prefix}{number:06}"


class Answer:
    """The `send` of an ASGI application: what it says becomes parts, as large as what has gathered meanwhile."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._buffer = bytearray()
        self._status, self._ended = 200, False
        self._more, self._room = asyncio.Event(), asyncio.Event()

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            return
        self._buffer += message.get("body", b"")
        self._ended = not message.get("more_body", False)
        self._more.set()
        while len(self._buffer) > CHUNK and not self._ended:
            self._room.clear()
            await self._room.wait()

    async def write(self) -> None:
        """Writes parts until the application has ended its answer."""
        last = False
        while not last:
            await self._more.wait()
            chunk = bytes(self._buffer[:CHUNK])
            del self._buffer[:CHUNK]
            self._room.set()
            last = self._ended and not self._buffer
            if not self._buffer:
                self._more.clear()
            await self._writer.put(Part(chunk, last, self._status))


class Chores:
    """Work that nobody waits for, and whose failure concerns nobody; `close` ends it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Awaitable[Any]) -> asyncio.Task[None]:
        async def done() -> None:
            with contextlib.suppress(K8sNetLabError):
                await work

        task = asyncio.create_task(done())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def renew(store: Store, lease: int) -> None:
    """Keeps a lease of TTL seconds for as long as there is such a lease."""
    with contextlib.suppress(NotFoundError):
        while True:
            await asyncio.sleep(TTL / 3)
            with contextlib.suppress(StoreError):
                await store.keep_alive(lease)


async def drop(store: Store, key: str) -> None:
    """Deletes a key that may be gone already."""
    with contextlib.suppress(NotFoundError):
        await store.delete(key)
