"""What one machine has acknowledged no other denies, also before its watch has told it; without the store it answers
with what it knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from face import ANSWERING, Face

from k8snetlab.api.config import ConfigMap
from k8snetlab.apiserver.freshness import Freshness
from k8snetlab.apiserver.history import Change, History
from k8snetlab.apiserver.objects import ObjectRoutes
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import StoreError
from k8snetlab.lab.app import Api
from k8snetlab.lab.table import Table
from k8snetlab.store.informer import Informer
from k8snetlab.store.protocol import Store

pytestmark = pytest.mark.anyio
PATH = "/api/v1/namespaces/default/configmaps"


class Machine:
    """A store's face on one machine, whose watch tells late; without `answers` the store says nothing."""

    def __init__(self, store: Store) -> None:
        self._store, self.answers = store, True

    def __getattr__(self, name: str) -> Any:
        if not self.answers and name != "health":
            raise StoreError("nobody answers")
        return getattr(self._store, name)

    async def watch(self, prefix: str, revision: int) -> AsyncIterator[Any]:
        async for events in self._store.watch(prefix, revision):
            await asyncio.sleep(0.5)
            yield events


@asynccontextmanager
async def machine(store: Store, fresh: bool = True) -> AsyncIterator[tuple[Face, Machine]]:
    seen: Any = Machine(store)
    informer = Informer(seen)
    await informer.start()
    cluster = Cluster(seen, informer, shared=True)
    table = Table(*(object.__new__(answering) for answering in ANSWERING))
    yield Face(cluster, Api(ObjectRoutes(cluster), table, None, Freshness(seen, informer) if fresh else None)), seen
    await cluster.close()
    await informer.close()


def named(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def begun(face: Face) -> None:
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}
    assert (await face.ask("POST", "/api/v1/namespaces", made)).code == 201


async def test_what_one_machine_wrote_another_shows_at_once(store: Store) -> None:
    async with machine(store) as (one, _):
        await begun(one)
        async with machine(store) as (two, _):
            assert (await one.ask("POST", PATH, named("a"))).code == 201
            assert (await two.ask("GET", f"{PATH}/a")).code == 200
            assert (await one.ask("POST", PATH, named("b"))).code == 201
            listed = (await two.ask("GET", PATH)).json["items"]
            assert [item["metadata"]["name"] for item in listed] == ["a", "b"]
            assert (await one.ask("PUT", f"{PATH}/a", named("a", key="new"))).code == 200
            assert [item.get("data") for item in (await two.ask("GET", PATH)).json["items"]] == [{"key": "new"}, None]
            assert (await one.ask("DELETE", f"{PATH}/a")).code == 200
            assert (await two.ask("GET", f"{PATH}/a")).code == 404
            assert [item["metadata"]["name"] for item in (await two.ask("GET", PATH)).json["items"]] == ["b"]


async def test_without_the_store_what_is_known_is_shown(store: Store) -> None:
    async with machine(store) as (one, seen):
        await begun(one)
        assert (await one.ask("POST", PATH, named("a"))).code == 201
        seen.answers = False
        assert (await one.ask("GET", f"{PATH}/a")).code == 200
        assert len((await one.ask("GET", PATH)).json["items"]) == 1
        seen.answers = True


async def test_a_watch_tells_of_a_write_once_it_has_told_of_all_before_it(store: Store) -> None:
    async with machine(store) as (one, _):
        await begun(one)
        async with machine(store) as (two, _):
            history, told = History(two.cluster), list[Change]()
            history.advance()
            assert (await one.ask("POST", PATH, named("a"))).code == 201
            assert (await two.ask("POST", PATH, named("b"))).code == 201
            assert two.cluster.snapshot.get(ConfigMap, "b", "default"), "of its own writes a server knows at once"
            async with asyncio.timeout(60), aclosing(history.follow(history.end)) as turns:
                async for news in turns:
                    told += [change for change in news if change.type is ConfigMap]
                    if len(told) == 2:
                        break
            assert [change.new.name for change in told if change.new] == ["a", "b"]
            assert not any(change.late for change in told)
            assert history.since(told[0].revision) == history.end - 1, "who goes on from the first gets the second"


async def test_a_list_is_as_new_as_what_it_shows(store: Store) -> None:
    async with machine(store) as (one, _):
        await begun(one)
        assert (await one.ask("POST", PATH, named("a"))).code == 201
        listed = (await one.ask("GET", PATH)).json
        (shown,) = listed["items"]
        assert int(listed["metadata"]["resourceVersion"]) >= int(shown["metadata"]["resourceVersion"])
