"""A verb is added by a declaration and a function: routing, refusals, forwarding and the client's call follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from face import Said, face_of

from k8snetlab.api.core import Node
from k8snetlab.api.machines import MACHINE
from k8snetlab.apiserver.connections import Connections
from k8snetlab.apiserver.objects import ObjectRoutes
from k8snetlab.apiserver.server import PeerProtocol, listen
from k8snetlab.client.client import Client
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import DaemonError, K8sNetLabError, NotFoundError, RequestError, StoreError
from k8snetlab.lab.app import Api
from k8snetlab.lab.everywhere import Everywhere
from k8snetlab.lab.table import Table, answers, merges
from k8snetlab.messages.verb import All, Call, Conversation, Leader, Nothing, OfNode, Packed, Stream
from k8snetlab.peers import parts
from k8snetlab.peers.requests import Remote
from k8snetlab.state.paths import LabPaths
from k8snetlab.store.embedded import EmbeddedStore

pytestmark = pytest.mark.anyio


class Greet(msgspec.Struct, frozen=True):
    node: str = ""
    whom: str = ""
    times: int = 1


class Greeting(msgspec.Struct, frozen=True):
    text: str
    by: str


GREET: Call[Greet, Greeting] = Call("greet", "GET", "greetings/{node}", Greet, Greeting, OfNode(), group=True)
CHOIR: Call[Nothing, list[Greeting]] = Call("choir", "POST", "choir", Nothing, list[Greeting], All())
SONG: Stream[Greet, Greeting] = Stream("song", "POST", "song", Greet, Greeting, Leader())
ECHO: Conversation[Greet, Greeting] = Conversation("echo", "POST", "echo/{node}", Greet, Greeting, OfNode())
KEYS: Packed[Nothing, dict[tuple[int, int], str]] = Packed("keys", "GET", "keys", Nothing, dict[tuple[int, int], str])


class Singing:
    """What a machine's daemon does for these verbs."""

    def __init__(self, here: str) -> None:
        self._here = here

    @answers(GREET)
    async def greet(self, asked: Greet) -> Greeting:
        if asked.whom == "nobody":
            raise NotFoundError("nobody is there", "ask for somebody")
        return Greeting(" ".join([f"hello {asked.whom}"] * asked.times), self._here)

    @answers(CHOIR)
    async def choir(self, _: Nothing) -> list[Greeting]:
        return [Greeting("la", self._here)]

    @merges(CHOIR)
    def together(
        self, _: Nothing, mine: list[Greeting], others: Mapping[str, list[Greeting] | K8sNetLabError]
    ) -> list[Greeting]:
        silent = [Greeting(one.message, node) for node, one in others.items() if isinstance(one, K8sNetLabError)]
        return mine + [voice for one in others.values() if isinstance(one, list) for voice in one] + silent

    @answers(SONG)
    async def song(self, asked: Greet) -> AsyncIterator[Greeting]:
        for number in range(asked.times):
            yield Greeting(str(number), self._here)
        if asked.whom == "nobody":
            raise NotFoundError("nobody listens")

    @answers(ECHO)
    async def echo(self, asked: Greet, body: AsyncIterator[bytes]) -> AsyncIterator[Greeting]:
        async for piece in body:
            yield Greeting(piece.decode(), self._here)

    @answers(KEYS)
    async def keys(self, _: Nothing) -> dict[tuple[int, int], str]:
        return {(1, 2): "x"}


@asynccontextmanager
async def machines(store: EmbeddedStore, *names: str) -> AsyncIterator[tuple[Cluster, list[Api], Remote]]:
    """Machines with their daemons' faces; the leader is the last one. The Remote is the first one's."""
    async with face_of() as face:
        for name in names:
            metadata = {"name": name, "annotations": {MACHINE: f"host of {name}"}}
            await face.cluster.apply(msgspec.convert({"metadata": metadata}, Node))
        faces, tasks, remotes = [], [], [Remote(store, name) for name in names]
        for name, remote in zip(names, remotes, strict=True):
            table = Table(Singing(name))
            everywhere = Everywhere(face.cluster, table, remote, lambda: names[-1])
            faces.append(Api(ObjectRoutes(face.cluster), table, everywhere))
        for remote, api in zip(remotes[1:], faces[1:], strict=True):
            tasks.append(asyncio.create_task(remote.run(api)))
        try:
            yield face.cluster, faces, remotes[0]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def served(api: Api, monkeypatch: pytest.MonkeyPatch, directory: Any) -> AsyncIterator[Client]:
    monkeypatch.setenv("K8SNETLAB_RUN", str(directory))
    paths = LabPaths("l")
    paths.create()
    connections = Connections(api, PeerProtocol)
    await connections.open(listen(paths))
    try:
        yield Client("l")
    finally:
        await connections.close(1.0)


async def test_the_client_asks_by_the_declaration_and_every_machine_answers_for_its_nodes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    store = EmbeddedStore(":memory:")
    async with machines(store, "one", "two") as (_, (api, _), remote), served(api, monkeypatch, tmp_path) as client:

        def stream(*asked: Any) -> list[Greeting]:
            return list(client.stream(*asked))

        ask: Callable[..., Awaitable[Any]] = asyncio.to_thread
        assert await ask(client.call, GREET, Greet("one", "a&b", 2)) == Greeting("hello a&b hello a&b", "one")
        assert await ask(client.call, GREET, Greet("two", "ä")) == Greeting("hello ä", "two")
        assert await ask(client.call, GREET, Greet("elsewhere")) == Greeting("hello ", "one")
        assert await ask(client.call, CHOIR, Nothing()) == [Greeting("la", "one"), Greeting("la", "two")]
        assert [one.by for one in await ask(stream, SONG, Greet(times=3))] == ["two"] * 3
        for node in ("one", "two"):
            said = await ask(lambda node=node: list(client.converse(ECHO, Greet(node), [b"typed"])))
            assert said == [Greeting("typed", node)]
        assert await remote.ask("two", KEYS, Nothing()) == {(1, 2): "x"}
        for node in ("one", "two"):
            with pytest.raises(NotFoundError, match="nobody is there") as refused:
                await ask(client.call, GREET, Greet(node, "nobody"))
            assert refused.value.hint == "ask for somebody"
        with pytest.raises(NotFoundError, match="nobody listens"):
            await ask(stream, SONG, Greet("", "nobody", 2))
    await store.close()


async def test_an_answer_that_breaks_off_between_machines_is_an_error_after_what_is_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(parts, "LIMIT", 1 << 20)
    store, said = EmbeddedStore(":memory:"), list[Greeting]()
    async with machines(store, "one", "two") as (_, (api, _), _), served(api, monkeypatch, tmp_path) as client:
        with pytest.raises(StoreError, match="will not go through the store"):
            await asyncio.to_thread(client.call, GREET, Greet("two", "x" * 20, 100_000))

        def listen() -> None:
            for greeting in client.stream(SONG, Greet(times=100_000)):
                said.append(greeting)

        with pytest.raises(StoreError, match="will not go through the store"):
            await asyncio.to_thread(listen)
    await store.close()
    assert said == [Greeting(str(number), "two") for number in range(len(said))] and len(said) > 10_000


async def test_a_leader_that_does_not_answer_is_done_without_and_others_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from k8snetlab.peers import requests

    monkeypatch.setattr(requests, "BEGIN_TIMEOUT", 0.2)
    monkeypatch.setattr(requests.Remote.forward, "__defaults__", (b"", 0.2))
    store = EmbeddedStore(":memory:")
    async with face_of() as face:
        for name in ("one", "two"):
            await face.cluster.apply(msgspec.convert({"metadata": {"name": name, "annotations": {MACHINE: "h"}}}, Node))
        table, remote = Table(Singing("one")), Remote(store, "one")
        everywhere = Everywhere(face.cluster, table, remote, lambda: "two")
        async with served(Api(ObjectRoutes(face.cluster), table, everywhere), monkeypatch, tmp_path) as client:
            said = await asyncio.to_thread(lambda: list(client.stream(SONG, Greet(times=1))))
            assert said == [Greeting("0", "one")]
            with pytest.raises(DaemonError, match="two: its daemon does not answer"):
                await asyncio.to_thread(client.call, GREET, Greet("two"))
            mine, silent = await asyncio.to_thread(client.call, CHOIR, Nothing())
            assert mine == Greeting("la", "one") and silent.text.startswith("two: its daemon does not answer")
    await store.close()


@pytest.mark.parametrize(
    ("method", "path", "code", "message"),
    [
        ("GET", "greetings/n?whom=w&times=2", 200, ""),
        ("GET", "greetings/n?who=w", 400, "unknown query parameter 'who'; did you mean \"whom\"?"),
        ("GET", "greetings/n?times=many", 400, "times: expected a whole number"),
        ("POST", "greetings/n", 405, "the server does not allow this method on the requested resource"),
        ("GET", "greetings", 404, "is no operation of this lab"),
        ("GET", "status", 404, "is no operation of this lab"),
        ("POST", "song", 200, ""),
    ],
)
async def test_what_no_declaration_says_is_refused(method: str, path: str, code: int, message: str) -> None:
    async with face_of() as face:
        face.api = Api(ObjectRoutes(face.cluster), Table(Singing("one")))
        said: Said = await face.ask(method, f"/apis/k8snetlab/v1alpha1/{path}")
        assert said.code == code, said.body
        assert code == 200 or message in said.json["message"]


async def test_a_body_of_another_shape_is_refused_with_the_path() -> None:
    async with face_of() as face:
        face.api = Api(ObjectRoutes(face.cluster), Table(Singing("one")))
        said = await face.ask("POST", "/apis/k8snetlab/v1alpha1/song", {"times": "x"}, content_type="application/json")
        assert (said.code, said.json["message"]) == (
            400,
            "the request is wrong: Expected `int`, got `str` - at `$.times`",
        )
        assert said.json["reason"] == RequestError.reason
