"""Requests to the daemons of other machines, carried by the store that all of them share.

A request is one of the lab's own REST requests. The asker creates /k8snetlab/requests/<node>/<id> under a lease of its
own. The daemon of that node says that it has begun (/k8snetlab/responses/<id>/taken, under the lease by which it
lives), executes the request against its own application and writes the answer in parts
(/k8snetlab/responses/<id>/<number>, under the asker's lease; an id begins with the asker's node). The asker deletes
what it has read. It ends its lease when it has read the last part, or when nobody wants more: the rest of the
conversation goes with the lease, and the other daemon stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar, cast

import msgspec

from k8snetlab.errors import DaemonError, K8sNetLabError, StoreError
from k8snetlab.messages.errors import BrokenOff, Status, error_of
from k8snetlab.messages.verb import ERROR, Call, Conversation, Packed, Stream
from k8snetlab.peers import parts
from k8snetlab.peers.answering import Answering, App
from k8snetlab.peers.parts import (
    CHUNK,
    REQUESTS,
    RESPONSES,
    Chores,
    Part,
    RemoteRequest,
    Writer,
    drop,
    read,
    renew,
)
from k8snetlab.store.protocol import Event, Store
from k8snetlab.supervision import Supervisor

Q = TypeVar("Q", bound=msgspec.Struct)
A = TypeVar("A")
BEGIN_TIMEOUT = 5.0
"""Seconds in which another daemon must begin with a request."""


class SilentError(DaemonError):
    """A daemon has not begun with a request in time."""


class Remote:
    """The conversations of the daemon of node `node`, which is this machine's, with the others."""

    def __init__(self, store: Store, node: str, supervisor: Supervisor | None = None) -> None:
        self._store, self.node = store, node
        self._supervisor = supervisor or Supervisor()
        self._answering = Answering(store, node, self._supervisor)
        self._chores = Chores()
        self._asked: dict[str, asyncio.Queue[Event | StoreError]] = {}
        self._receiver: asyncio.Task[None] | None = None
        self._receiving = asyncio.Event()

    async def run(self, app: App) -> None:
        """`Answering.run`: answers by `app`, for ever."""
        try:
            await self._answering.run(app)
        finally:
            if self._receiver:
                self._receiver.cancel()
                await asyncio.gather(self._receiver, return_exceptions=True)
            await self._chores.close()

    async def forward(
        self,
        node: str,
        method: str,
        path: str,
        body: bytes | AsyncIterator[bytes] = b"",
        patience: float = BEGIN_TIMEOUT,
    ) -> AsyncGenerator[bytes, None]:
        """The body of what the daemon of `node` answers, as it comes; closing the generator ends the request there.

        `path` has the query. Raises what was refused there, DaemonError when nothing answers or the answer breaks off,
        StoreError.
        """
        id_ = f"{self.node}:{secrets.token_hex(8)}"
        key = f"{REQUESTS}{node}/{id_}"
        async with self._leased() as lease, self._subscribed(id_, patience) as events:
            whole = body if isinstance(body, bytes) and len(body) <= CHUNK else None
            request = RemoteRequest(method, path, lease, whole or b"", goes_on=whole is None)
            await self._store.create(key, msgspec.json.encode(request), lease)
            feeding = None if whole is not None else self._chores.start(self._feed(f"{key}/", lease, body, events))
            try:
                async with aclosing(self._parts(node, events, patience)) as pieces:
                    async for part in pieces:
                        yield part
            finally:
                if feeding:
                    feeding.cancel()

    async def ask_json(self, node: str, method: str, path: str, body: Any = None) -> Any:
        """`forward` for what is JSON, as objects of Kubernetes are."""
        sent = b"" if body is None else msgspec.json.encode(body)
        return read(path, await joined(self.forward(node, method, path, sent)), Any)

    async def ask(self, node: str, verb: Call[Q, A] | Packed[Q, A], question: Q, patience: float = BEGIN_TIMEOUT) -> A:
        """What the daemon of `node` answers. Raises as `forward`, DaemonError for an answer of another form."""
        target, body = verb.target(question), verb.body(question)
        data = await joined(self.forward(node, verb.method, target, body, patience))
        packed = isinstance(verb, Packed)
        return cast(A, _read(node, data, verb.answer, packed))

    async def ask_all(
        self, nodes: Sequence[str], verb: Call[Q, A], question: Q, within: float | None = None
    ) -> dict[str, A | K8sNetLabError]:
        """What each of the nodes' daemons answers, at once; a K8sNetLabError for one that does not, or not in time."""

        async def answer_of(node: str) -> A | K8sNetLabError:
            try:
                async with asyncio.timeout(within):
                    return await self.ask(node, verb, question, within or BEGIN_TIMEOUT)
            except TimeoutError:
                return _silent(node, within or BEGIN_TIMEOUT)
            except K8sNetLabError as error:
                return error

        return dict(zip(nodes, await asyncio.gather(*(answer_of(node) for node in nodes)), strict=True))

    async def lines(
        self, node: str, verb: Stream[Q, A] | Conversation[Q, A], question: Q, body: AsyncIterator[bytes] | None = None
    ) -> AsyncGenerator[A, None]:
        """The values that the daemon of `node` answers; raises the error that the last line may be. `body` is that of a
        Conversation."""
        sent = verb.body(question) if body is None else body
        async with aclosing(whole_lines(self.forward(node, verb.method, verb.target(question), sent))) as pieces:
            async for piece in pieces:
                for line in piece.splitlines():
                    if line.startswith(ERROR):
                        raise error_of(read(verb.path, line, BrokenOff).status)
                    yield cast(A, _read(node, line, verb.answer))

    async def _parts(
        self, node: str, events: asyncio.Queue[Event | StoreError], patience: float
    ) -> AsyncGenerator[bytes, None]:
        begun, refusal = False, b""
        while True:
            event = await _next(node, events, None if begun else patience)
            if event.entry.key.endswith("/taken"):
                if event.type == "delete":
                    raise DaemonError(f"{node}: its daemon went away while it answered", _HINT)
                begun = True
            elif event.type == "put":
                part = read(event.entry.key, event.entry.value, Part)
                if part.status >= 400:
                    refusal += part.body
                    if part.last:
                        raise error_of(read(event.entry.key, refusal, Status))
                elif part.body:
                    yield part.body
                if part.last:
                    return
                await drop(self._store, event.entry.key)

    @asynccontextmanager
    async def _subscribed(self, id_: str, patience: float) -> AsyncIterator[asyncio.Queue[Event | StoreError]]:
        """What the store tells of a conversation's answer."""
        if self._receiver is None or self._receiver.done():
            self._receiver = self._supervisor.keep("answers of other machines", self._receive)
        self._asked[id_] = asyncio.Queue()
        try:
            if not await _within(patience, self._receiving):
                raise StoreError("the store, which carries questions to other machines, does not answer")
            yield self._asked[id_]
        finally:
            del self._asked[id_]

    async def _receive(self) -> None:
        """Follows the answers to all that this machine asks. One watch that stays open: a new one of etcd's begins to
        tell after 100 ms only (syncWatchersLoop)."""
        mine = f"{RESPONSES}{self.node}:"
        while True:
            try:
                listing = await self._store.list(mine)
                async with aclosing(self._store.watch(mine, listing.revision)) as batches:
                    self._receiving.set()
                    async for events in batches:
                        for event in events:
                            id_ = event.entry.key.removeprefix(RESPONSES).partition("/")[0]
                            if id_ in self._asked:
                                self._asked[id_].put_nowait(event)
            except Exception as error:
                self._receiving.clear()
                failure = error if isinstance(error, StoreError) else StoreError(f"{type(error).__name__}: {error}")
                for queue in self._asked.values():
                    queue.put_nowait(failure)
                if failure is not error:
                    raise
            await asyncio.sleep(1)

    async def _feed(
        self, prefix: str, lease: int, body: bytes | AsyncIterator[bytes], events: asyncio.Queue[Event | StoreError]
    ) -> None:
        """Sends a body after its request, as it comes; where that fails nobody waits for an answer: it is an event."""
        writer = Writer(self._store, prefix, lease)
        try:
            async for piece in _as_stream(body) if isinstance(body, bytes) else body:
                for start in range(0, len(piece), CHUNK):
                    await writer.put(Part(piece[start : start + CHUNK], last=False))
            await writer.put(Part(b"", last=True))
        except StoreError as error:
            events.put_nowait(error)

    @asynccontextmanager
    async def _leased(self) -> AsyncIterator[int]:
        lease = await self._store.grant(parts.TTL)
        renewal = self._chores.start(renew(self._store, lease))
        try:
            yield lease
        finally:
            renewal.cancel()
            self._chores.start(self._store.revoke(lease))


async def joined(pieces: AsyncGenerator[bytes, None]) -> bytes:
    """All pieces of an answer. Raises what `pieces` raises."""
    async with aclosing(pieces):
        return b"".join([piece async for piece in pieces])


async def whole_lines(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The same bytes, parted behind line ends only; of an answer that breaks off in a line that line is left out."""
    rest = b""
    async with aclosing(pieces):
        async for piece in pieces:
            lines, end, rest = (rest + piece).rpartition(b"\n")
            if end:
                yield lines + end
    if rest:
        yield rest


_HINT = "traffic goes on without it; `k8snetlab up` or `node join` on that machine starts it again"


async def _as_stream(piece: bytes) -> AsyncIterator[bytes]:
    yield piece


async def _next(node: str, events: asyncio.Queue[Event | StoreError], within: float | None) -> Event:
    """Raises DaemonError after `within` seconds, StoreError where the store failed."""
    try:
        async with asyncio.timeout(within):
            event = await events.get()
    except TimeoutError:
        raise _silent(node, within or 0) from None
    if isinstance(event, StoreError):
        raise event
    return event


def _read(node: str, data: bytes, type_: Any, packed: bool = False) -> Any:
    try:
        return (msgspec.msgpack if packed else msgspec.json).decode(data, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        strange = f"{node}: its daemon answers strangely: {error}"
        raise DaemonError(strange, "is it of the same version?") from error


def _silent(node: str, patience: float) -> SilentError:
    return SilentError(f"{node}: its daemon does not answer (no answer within {patience:g} s)", _HINT)


async def _within(seconds: float, event: asyncio.Event) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
