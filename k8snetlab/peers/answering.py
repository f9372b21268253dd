"""What other machines' daemons ask of this one, taken from the store and executed; `requests` has the asking side."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any
from urllib.parse import unquote

from k8snetlab.errors import AlreadyExistsError, K8sNetLabError, NotFoundError, StoreError
from k8snetlab.peers import parts
from k8snetlab.peers.parts import (
    REQUESTS,
    RESPONSES,
    Answer,
    Chores,
    GarbledError,
    Part,
    RemoteRequest,
    Writer,
    drop,
    read,
    renew,
)
from k8snetlab.store.protocol import Entry, Event, Store
from k8snetlab.supervision import Supervisor

log = logging.getLogger(__name__)
Json = dict[str, Any]
App = Callable[[Json, Callable[[], Awaitable[Json]], Callable[[Json], Awaitable[None]]], Awaitable[None]]


class Answering:
    """Executes what is asked of node `node`, this machine, each request in a task of its own."""

    def __init__(self, store: Store, node: str, supervisor: Supervisor) -> None:
        self._store, self._node, self._supervisor = store, node, supervisor
        self._name = secrets.token_hex(8).encode()
        self._lease, self._living = 0, asyncio.Event()
        self._serving: dict[str, tuple[asyncio.Task[None], asyncio.Queue[Part]]] = {}
        self._chores = Chores()

    async def run(self, app: App) -> None:
        """Answers what is asked of this machine, by `app` (ASGI), for ever. `scope["alone"]` is true there: what is
        asked is not to be asked of others again."""
        staying = self._supervisor.keep("lease of this daemon", self._stay)
        try:
            while True:
                try:
                    await self._living.wait()
                    await self._serve(app)
                except StoreError as error:
                    log.warning("requests of other machines: %s", error.message)
                await asyncio.sleep(1)
        finally:
            tasks = [staying, *(task for task, _ in self._serving.values())]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._chores.close()
            with contextlib.suppress(K8sNetLabError, TimeoutError):
                await asyncio.wait_for(self._store.revoke(self._lease), 1)  # as in exec/session.end

    async def _serve(self, app: App) -> None:
        mine = f"{REQUESTS}{self._node}/"
        listing = await self._store.list(mine)
        for id_ in self._serving.keys() - {entry.key.removeprefix(mine) for entry in listing.entries}:
            self._serving[id_][0].cancel()
        async with aclosing(self._store.watch(mine, listing.revision)) as batches:
            for entry in listing.entries:
                self._received(app, Event("put", entry))
            async for events in batches:
                for event in events:
                    self._received(app, event)

    def _received(self, app: App, event: Event) -> None:
        """A request begins, a part of its body comes, or nobody waits for its answer any more."""
        id_, _, number = event.entry.key.removeprefix(f"{REQUESTS}{self._node}/").partition("/")
        task, pieces = self._serving.get(id_, (None, None))
        if event.type == "delete":
            if task and not number:
                task.cancel()
        elif number and pieces:
            try:
                pieces.put_nowait(read(event.entry.key, event.entry.value, Part))
            except GarbledError as error:
                log.warning("%s", error.message)
            self._chores.start(drop(self._store, event.entry.key))
        elif not number and not task:
            pieces = asyncio.Queue()
            task = asyncio.create_task(self._answer(app, id_, event.entry, pieces), name=f"asked {id_}")
            self._serving[id_] = task, pieces
            task.add_done_callback(lambda _: self._serving.pop(id_, None))

    async def _answer(self, app: App, id_: str, entry: Entry, pieces: asyncio.Queue[Part]) -> None:
        try:
            request = read(entry.key, entry.value, RemoteRequest)
        except GarbledError as error:
            log.warning("%s", error.message)
            await drop(self._store, entry.key)
            return
        key = f"{RESPONSES}{id_}/taken"
        taken = asyncio.create_task(self._say_taken(key))
        try:
            await asyncio.shield(taken)
        except AlreadyExistsError:
            return  # the daemon before this one had begun with it; its lease tells the asker
        except StoreError as error:
            log.warning("asked for %s %s: %s", request.method, request.path, error.message)
        else:
            await self._execute(app, request, pieces, Writer(self._store, f"{RESPONSES}{id_}/", request.lease))
        finally:
            self._chores.start(self._take_back(taken, key))

    async def _execute(self, app: App, request: RemoteRequest, pieces: asyncio.Queue[Part], writer: Writer) -> None:
        try:
            await _executed(app, request, pieces, Answer(writer))
        except NotFoundError:
            log.info("whoever asked for %s %s has gone", request.method, request.path)
        except StoreError as error:
            with contextlib.suppress(K8sNetLabError):
                await writer.refuse(error)

    async def _take_back(self, taken: asyncio.Task[None], key: str) -> None:
        """Deletes what `taken` writes, after it: of who went meanwhile it would stay for as long as this daemon."""
        with contextlib.suppress(StoreError):
            await taken
        await drop(self._store, key)

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
                self._lease = await self._store.grant(parts.TTL)
                self._living.set()
                await renew(self._store, self._lease)
            except StoreError:
                await asyncio.sleep(1)


async def _executed(app: App, request: RemoteRequest, pieces: asyncio.Queue[Part], answer: Answer) -> None:
    """Executes the request, and returns when all of the answer is written."""
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


def _scope(request: RemoteRequest) -> Json:
    path, _, query = request.path.partition("?")
    return {
        "type": "http",
        "method": request.method,
        "path": unquote(path),
        "query_string": query.encode(),
        "headers": [],
        "alone": True,
    }


def _receiver(request: RemoteRequest, pieces: asyncio.Queue[Part]) -> Callable[[], Awaitable[Json]]:
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
