"""Requests to the daemons of other machines, carried by the store that all of them share.

A request is one of the lab's own REST requests. The asker creates /k8snetlab/requests/<node>/<id> under a lease of its
own. The daemon of that node says that it has begun (/k8snetlab/responses/<id>/taken, under the lease by which it
lives), executes the request against its own application and writes the answer in parts
(/k8snetlab/responses/<id>/<number>, under the asker's lease). The asker deletes what it has read, and ends its lease
when it has read the last part or nobody wants more: what is left of the conversation goes with it, and the other stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any
from urllib.parse import unquote

import msgspec

from k8snetlab.errors import AlreadyExistsError, DaemonError, K8sNetLabError, NotFoundError, StoreError
from k8snetlab.lab.parts import CHUNK, REQUESTS, RESPONSES, Answer, Part, Request, Writer, drop
from k8snetlab.lab.status import error_of
from k8snetlab.store.protocol import Entry, Event, Store

log = logging.getLogger(__name__)
Json = dict[str, Any]
App = Callable[[Json, Callable[[], Awaitable[Json]], Callable[[Json], Awaitable[None]]], Awaitable[None]]

PATIENCE = 5.0
"""Seconds in which another daemon must begin with a request."""
TTL = 9
"""Seconds after which what a daemon that died has left in the store is gone."""


class Remote:
    """The conversations of this machine's daemon, that of node `node`, with the others."""

    def __init__(self, store: Store, node: str) -> None:
        self._store, self.node = store, node
        self._name = secrets.token_hex(8).encode()
        self._lease, self._living = 0, asyncio.Event()
        self._serving: dict[str, tuple[asyncio.Task[None], asyncio.Queue[Part]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # --- asking -------------------------------------------------------------------------------------------------------

    async def forward(
        self, node: str, method: str, path: str, body: bytes | AsyncIterator[bytes] = b"", patience: float = PATIENCE
    ) -> AsyncGenerator[bytes, None]:
        """The body of what the daemon of `node` answers, as it comes; closing the generator ends the request there.

        `path` has the query. Raises what was refused there, DaemonError when nothing answers or the answer breaks off,
        StoreError.
        """
        id_ = secrets.token_hex(8)
        key = f"{REQUESTS}{node}/{id_}"
        async with self._leased() as lease:
            whole = body if isinstance(body, bytes) else b""
            request = Request(method, path, lease, whole, goes_on=whole is not body)
            made = await self._store.create(key, msgspec.json.encode(request), lease)
            feeding = None if isinstance(body, bytes) else self._start(self._feed(f"{key}/", lease, body))
            try:
                async with aclosing(self._parts(node, id_, made.mod_revision, patience)) as parts:
                    async for part in parts:
                        yield part
            finally:
                if feeding:
                    feeding.cancel()

    async def ask(self, node: str, method: str, path: str, body: Any = None, patience: float = PATIENCE) -> Any:
        """`forward` for what is JSON."""
        sent = b"" if body is None else msgspec.json.encode(body)
        async with aclosing(self.forward(node, method, path, sent, patience)) as parts:
            return msgspec.json.decode(b"".join([part async for part in parts]))

    async def ask_all(
        self, nodes: Sequence[str], method: str, path: str, body: Any = None, within: float | None = None
    ) -> dict[str, Any]:
        """What each of the nodes' daemons answers, at once; a K8sNetLabError for one that does not, or not in time."""

        async def one(node: str) -> Any:
            try:
                async with asyncio.timeout(within):
                    return await self.ask(node, method, path, body, within or PATIENCE)
            except TimeoutError:
                return _silent(node, within or PATIENCE)
            except K8sNetLabError as error:
                return error

        return dict(zip(nodes, await asyncio.gather(*(one(node) for node in nodes)), strict=True))

    async def lines(
        self, node: str, method: str, path: str, body: bytes | AsyncIterator[bytes] = b""
    ) -> AsyncGenerator[Json, None]:
        """`forward` for an answer of JSON lines; raises the error that the last one may be."""
        rest = b""
        async with aclosing(self.forward(node, method, path, body)) as chunks:
            async for chunk in chunks:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = msgspec.json.decode(line)
                    if event.get("type") == "error":
                        raise error_of(event["status"])
                    yield event

    async def _parts(self, node: str, id_: str, revision: int, patience: float) -> AsyncGenerator[bytes, None]:
        taken, begun, refusal = f"{RESPONSES}{id_}/taken", False, b""
        async with aclosing(self._store.watch(f"{RESPONSES}{id_}/", revision)) as batches:
            while True:
                try:
                    async with asyncio.timeout(None if begun else patience):
                        events = await anext(batches)
                except TimeoutError:
                    raise _silent(node, patience) from None
                for event in events:
                    if event.entry.key == taken:
                        if event.type == "delete":
                            raise DaemonError(f"{node}: its daemon went away while it answered", _HINT)
                        begun = True
                    elif event.type == "put":
                        part = msgspec.json.decode(event.entry.value, type=Part)
                        if part.status >= 400:
                            refusal += part.body
                            if part.last:
                                raise error_of(msgspec.json.decode(refusal))
                        elif part.body:
                            yield part.body
                        if part.last:
                            return
                        await drop(self._store, event.entry.key)

    async def _feed(self, prefix: str, lease: int, body: AsyncIterator[bytes]) -> None:
        """Sends a body after its request, as it comes."""
        writer = Writer(self._store, prefix, lease)
        async for piece in body:
            for start in range(0, len(piece), CHUNK):
                await writer.put(Part(piece[start : start + CHUNK], last=False))
        await writer.put(Part(b"", last=True))

    # --- answering ----------------------------------------------------------------------------------------------------

    async def run(self, app: App) -> None:
        """Answers what is asked of this machine, by `app` (ASGI), for ever. `scope["alone"]` is true there: what is
        asked is not to be asked of others again."""
        staying = asyncio.create_task(self._stay())
        try:
            while True:
                try:
                    await self._living.wait()
                    await self._serve(app)
                except StoreError as error:
                    log.warning("requests of other machines: %s", error.message)
                await asyncio.sleep(1)
        finally:
            tasks = [staying, *self._tasks, *(task for task, _ in self._serving.values())]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(K8sNetLabError, TimeoutError):
                async with asyncio.timeout(1):
                    await self._store.revoke(self._lease)

    async def _serve(self, app: App) -> None:
        mine = f"{REQUESTS}{self.node}/"
        listing = await self._store.list(mine)
        for id_ in self._serving.keys() - {entry.key.removeprefix(mine) for entry in listing.entries}:
            self._serving[id_][0].cancel()
        async with aclosing(self._store.watch(mine, listing.revision)) as batches:
            for entry in listing.entries:
                self._heard(app, Event("put", entry))
            async for events in batches:
                for event in events:
                    self._heard(app, event)

    def _heard(self, app: App, event: Event) -> None:
        """A request begins, a part of its body comes, or nobody waits for its answer any more."""
        id_, _, number = event.entry.key.removeprefix(f"{REQUESTS}{self.node}/").partition("/")
        task, pieces = self._serving.get(id_, (None, None))
        if event.type == "delete":
            if task and not number:
                task.cancel()
        elif number and pieces:
            pieces.put_nowait(msgspec.json.decode(event.entry.value, type=Part))
            self._start(drop(self._store, event.entry.key))
        elif not number and not task:
            pieces = asyncio.Queue()
            task = asyncio.create_task(self._answer(app, id_, event.entry, pieces), name=f"asked {id_}")
            self._serving[id_] = task, pieces
            task.add_done_callback(lambda _: self._serving.pop(id_, None))

    async def _answer(self, app: App, id_: str, entry: Entry, pieces: asyncio.Queue[Part]) -> None:
        request = msgspec.json.decode(entry.value, type=Request)
        taken = f"{RESPONSES}{id_}/taken"
        try:
            await self._say_taken(taken)
        except AlreadyExistsError:
            return  # the daemon before this one had begun with it; its lease tells the asker
        writer = Writer(self._store, f"{RESPONSES}{id_}/", request.lease)
        try:
            await _executed(app, request, pieces, Answer(writer))
        except NotFoundError:
            log.info("whoever asked for %s %s has gone", request.method, request.path)
        except StoreError as error:
            await writer.refuse(error)
        finally:
            self._start(drop(self._store, taken))

    async def _say_taken(self, key: str) -> None:
        while True:
            with contextlib.suppress(NotFoundError):  # the store has lost this daemon's lease: another one comes
                await self._store.create(key, self._name, self._lease)
                return
            await asyncio.sleep(0.1)

    async def _stay(self) -> None:
        """Keeps a lease that says that this daemon lives, a new one where the store has lost it."""
        while True:
            try:
                self._lease = await self._store.grant(TTL)
                self._living.set()
                await self._renew(self._lease)
            except StoreError:
                await asyncio.sleep(1)

    # --- leases -------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _leased(self) -> AsyncIterator[int]:
        lease = await self._store.grant(TTL)
        renewal = self._start(self._renew(lease))
        try:
            yield lease
        finally:
            renewal.cancel()
            self._start(self._store.revoke(lease))

    async def _renew(self, lease: int) -> None:
        """For as long as there is such a lease."""
        with contextlib.suppress(NotFoundError):
            while True:
                await asyncio.sleep(TTL / 3)
                with contextlib.suppress(StoreError):
                    await self._store.keep_alive(lease)

    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[None]:
        """Does what nobody waits for."""

        async def done() -> None:
            with contextlib.suppress(K8sNetLabError):
                await work

        task = asyncio.create_task(done())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


_HINT = "traffic goes on without it; `k8snetlab up` or `node join` on that machine starts it again"


def _silent(node: str, patience: float) -> DaemonError:
    return DaemonError(f"{node}: its daemon does not answer (no answer within {patience:g} s)", _HINT)


async def _executed(app: App, request: Request, pieces: asyncio.Queue[Part], answer: Answer) -> None:
    """The request is executed, and all of its answer written, when this returns."""
    writing = asyncio.create_task(answer.write())
    working = asyncio.ensure_future(app(_scope(request), _receiver(request, pieces), answer.send))
    try:
        await asyncio.wait({writing, working}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        await writing
    finally:
        for task in (writing, working):
            task.cancel()
        await asyncio.gather(writing, working, return_exceptions=True)


def _scope(request: Request) -> Json:
    path, _, query = request.path.partition("?")
    return {
        "type": "http",
        "method": request.method,
        "path": unquote(path),
        "query_string": query.encode(),
        "headers": [],
        "alone": True,
    }


def _receiver(request: Request, pieces: asyncio.Queue[Part]) -> Callable[[], Awaitable[Json]]:
    """The `receive` of an ASGI application; after the body it waits for ever, as the end comes by cancellation."""
    ahead = [] if request.goes_on else [Part(request.body, last=True)]
    ended = False

    async def receive() -> Json:
        nonlocal ended
        if ended:
            await asyncio.Event().wait()
        part = ahead.pop() if ahead else await pieces.get()
        ended = part.last
        return {"type": "http.request", "body": part.body, "more_body": not part.last}

    return receive
