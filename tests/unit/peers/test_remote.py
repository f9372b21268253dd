"""Requests from one machine's daemon to another's, through a store that both have: the embedded one and a real etcd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec
import pytest

from k8snetlab.errors import DaemonError, NotFoundError, StoreError
from k8snetlab.messages.errors import status_of
from k8snetlab.messages.places import NAMES
from k8snetlab.messages.verb import Nothing
from k8snetlab.peers import parts
from k8snetlab.peers.requests import Remote, whole_lines
from k8snetlab.store.informer import Informer
from k8snetlab.store.protocol import Entry, Store

pytestmark = pytest.mark.anyio
Json = dict[str, Any]


class App:
    """What another machine's daemon would answer with: each path is a behaviour."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.running = 0
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Json, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        self.asked.append((scope["method"], scope["path"], scope["query_string"].decode()))
        assert scope["alone"]
        self.running += 1
        try:
            await getattr(self, scope["path"].strip("/"))(receive, send)
        finally:
            self.running -= 1

    async def echo(self, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        await said(send, msgspec.json.encode({"body": body.decode()}))

    async def large(self, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(40):
            await send({"type": "http.response.body", "body": bytes([number]) * 100_000, "more_body": True})
        await send({"type": "http.response.body", "body": b"end"})

    async def lines(self, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(10_000):
            line = msgspec.json.encode({"type": "line", "number": number, "text": "x" * 777}) + b"\n"
            await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def endless(self, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"line\n", "more_body": True})
            await asyncio.sleep(0.01)

    async def waits(self, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        await self.go_on.wait()
        await said(send, b'"waited"')

    async def refused(self, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        await said(send, msgspec.json.encode(status_of(NotFoundError("no such pod", "look elsewhere"))), 404)


async def said(send: Callable[..., Any], body: bytes, code: int = 200) -> None:
    await send({"type": "http.response.start", "status": code, "headers": []})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(store: Store, node: str) -> AsyncIterator[App]:
    app = App()
    task = asyncio.create_task(Remote(store, node).run(app))
    try:
        yield app
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def nothing_left(store: Store) -> None:
    async with asyncio.timeout(20):
        while (await store.list(parts.PREFIX)).entries:
            await asyncio.sleep(0.01)


async def test_a_request_and_its_answer(store: Store) -> None:
    async with serving(store, "node2") as app:
        asker = Remote(store, "node1")
        assert await asker.ask_json("node2", "POST", "/echo?a=b%20c&d=", {"x": 1}) == {"body": '{"x":1}'}
        assert app.asked == [("POST", "/echo", "a=b%20c&d=")]
        await nothing_left(store)


async def test_several_at_once_and_none_waits_for_another(store: Store) -> None:
    async with serving(store, "node2") as two, serving(store, "node3") as three:
        asker = Remote(store, "node1")
        slow = asyncio.create_task(asker.ask_json("node2", "GET", "/waits"))
        answers = await asyncio.gather(
            *(asker.ask_json(node, "POST", "/echo", number) for node in ("node2", "node3") for number in range(10))
        )
        assert answers == [{"body": str(number)} for number in range(10)] * 2
        assert not slow.done() and len(three.asked) == 10
        two.go_on.set()
        assert await slow == "waited"
        await nothing_left(store)


async def test_a_large_answer_comes_in_order_and_never_fills_the_store(store: Store) -> None:
    async with serving(store, "node2"):
        most, size, body = 0, 0, b""
        async with aclosing(Remote(store, "node1").forward("node2", "GET", "/large")) as chunks:
            async for chunk in chunks:
                body += chunk
                entries = (await store.list(parts.RESPONSES)).entries
                most, size = max(most, len(entries)), max([size, *(len(e.value) for e in entries)])
        assert body == b"".join(bytes([number]) * 100_000 for number in range(40)) + b"end"
        assert most <= parts.WINDOW + 2 and size < 1_500_000
        await nothing_left(store)


async def test_a_body_that_goes_on(store: Store) -> None:
    async def body() -> AsyncIterator[bytes]:
        for letter in (b"a", b"b", b"c" * (parts.CHUNK + 1)):
            yield letter
            await asyncio.sleep(0)

    async with serving(store, "node2"):
        async with aclosing(Remote(store, "node1").forward("node2", "POST", "/echo", body())) as chunks:
            answer = b"".join([chunk async for chunk in chunks])
        assert answer == b'{"body":"ab' + b"c" * (parts.CHUNK + 1) + b'"}'
        await nothing_left(store)


async def test_a_body_larger_than_the_store_takes(store: Store) -> None:
    """As that of an `up` with many objects."""
    text = "é" * (2 << 20)
    async with serving(store, "node2"):
        answer = await Remote(store, "node1").ask_json("node2", "POST", "/echo", text)
        assert msgspec.json.decode(answer["body"]) == text
        await nothing_left(store)


async def test_a_refusal_is_the_same_error_here(store: Store) -> None:
    async with serving(store, "node2"):
        with pytest.raises(NotFoundError, match="no such pod") as caught:
            await Remote(store, "node1").ask_json("node2", "GET", "/refused")
        assert caught.value.hint == "look elsewhere"
        await nothing_left(store)


async def test_a_machine_that_does_not_answer_is_named(store: Store) -> None:
    with pytest.raises(DaemonError, match=r"node2: its daemon does not answer \(no answer within 0.2 s\)") as caught:
        await Remote(store, "node1").ask("node2", NAMES, Nothing(), patience=0.2)
    assert caught.value.hint
    await nothing_left(store)


async def test_the_other_stops_when_nobody_wants_more(store: Store) -> None:
    async with serving(store, "node2") as app:
        chunks = Remote(store, "node1").forward("node2", "GET", "/endless")
        assert await anext(chunks)
        assert app.running == 1
        await chunks.aclose()
        async with asyncio.timeout(20):
            while app.running:
                await asyncio.sleep(0.01)
        await nothing_left(store)


async def test_the_other_stops_when_the_asker_has_died(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "TTL", 2)
    async with serving(store, "node2") as app:
        asker = Remote(store, "node1")
        chunks = asker.forward("node2", "GET", "/endless")
        assert await anext(chunks)
        for task in asker._chores._tasks:  # as if its process had been killed: nothing is renewed, nothing is revoked
            task.cancel()
        async with asyncio.timeout(30):
            while app.running:
                await asyncio.sleep(0.05)
        await nothing_left(store)
        with pytest.raises(DaemonError, match="went away"):
            async for _ in chunks:
                pass


async def test_a_daemon_that_ends_while_it_answers(store: Store) -> None:
    async with serving(store, "node2") as app:
        asking = asyncio.create_task(Remote(store, "node1").ask_json("node2", "GET", "/waits"))
        while not app.running:
            await asyncio.sleep(0.01)
    with pytest.raises(DaemonError, match="node2: its daemon went away while it answered"):
        await asking


async def test_what_a_daemon_had_begun_with_is_not_done_twice(store: Store) -> None:
    asker = Remote(store, "node1")
    asking = asyncio.create_task(asker.ask_json("node2", "POST", "/waits"))
    while not (entries := (await store.list(parts.REQUESTS)).entries):
        await asyncio.sleep(0.01)
    id_ = entries[0].key.rpartition("/")[2]
    await store.create(f"{parts.RESPONSES}{id_}/taken", b"another", await store.grant(2))
    async with serving(store, "node2") as app:
        with pytest.raises(DaemonError, match="went away"):
            await asking
        assert app.asked == []
        await nothing_left(store)


async def test_of_who_goes_while_a_daemon_begins_nothing_is_left(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on its way to the store when its sender is cancelled gets there nevertheless."""
    create, begins, arrives = store.create, asyncio.Event(), asyncio.Event()

    async def slow(key: str, value: bytes, lease: int = 0) -> Entry:
        async def arriving() -> Entry:
            begins.set()
            await arrives.wait()
            return await create(key, value, lease)

        return await (
            asyncio.shield(asyncio.create_task(arriving())) if key.endswith("/taken") else create(key, value, lease)
        )

    async with serving(store, "node2") as app:
        monkeypatch.setattr(store, "create", slow)
        asking = asyncio.create_task(Remote(store, "node1").ask_json("node2", "POST", "/echo", {}))
        await begins.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        async with asyncio.timeout(20):
            while (await store.list(parts.REQUESTS)).entries:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        arrives.set()
        await asyncio.sleep(0.1)
        await nothing_left(store)
        assert app.asked == []


async def test_more_than_the_limit_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LIMIT", 1 << 20)
    async with serving(store, "node2"):
        with pytest.raises(StoreError, match="will not go through the store"):
            async for _ in Remote(store, "node1").forward("node2", "GET", "/large"):
                pass
        await nothing_left(store)


async def test_a_body_of_more_than_the_limit_is_refused_and_not_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "LIMIT", 1 << 20)
    async with serving(store, "node2"):
        with pytest.raises(StoreError, match="will not go through the store"):
            await Remote(store, "node1").ask_json("node2", "POST", "/echo", "e" * (2 << 20))
        await nothing_left(store)


async def test_of_lines_that_break_off_the_whole_ones_come(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LIMIT", 2 << 20)
    async with serving(store, "node2"):
        got = b""
        with pytest.raises(StoreError, match="will not go through the store"):
            async for piece in whole_lines(Remote(store, "node1").forward("node2", "GET", "/lines")):
                got += piece
        numbers = [msgspec.json.decode(line)["number"] for line in got.splitlines()]
        assert got.endswith(b"\n") and len(got) > 1 << 20 and numbers == list(range(len(numbers)))
        await nothing_left(store)


async def test_an_informer_does_not_hear_of_it(store: Store) -> None:
    informer = Informer(store)
    await informer.start()
    try:
        before = informer.snapshot
        async with serving(store, "node2"):
            await Remote(store, "node1").ask_json("node2", "POST", "/echo", 1)
        assert informer.snapshot.objects is before.objects and not informer.problems
    finally:
        await informer.close()


@pytest.mark.parametrize("value", [b"\xff", b"[]", b'{"method": 1}', b"[" * 100_000])
async def test_what_is_no_request_is_dropped_and_the_next_one_answered(store: Store, value: bytes) -> None:
    async with serving(store, "node2"):
        for key in ("node2/x", "node2/x/000001", "node2/../y", "node2"):
            await store.create(f"{parts.REQUESTS}{key}", value)
        assert await Remote(store, "node1").ask_json("node2", "POST", "/echo", "again") == {"body": '"again"'}
