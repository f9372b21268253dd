"""Objects that are created at the same time: one visit to the store, one change of the Snapshot, own outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from k8snetlab.api.config import ConfigMap
from k8snetlab.api.core import Service, ServicePort, ServiceSpec
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.versions import Objects
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.cluster.creating import TOGETHER, Creations
from k8snetlab.errors import AlreadyExistsError, K8sNetLabError, ManifestError, StoreError
from k8snetlab.store.embedded import EmbeddedStore
from k8snetlab.store.informer import Informer
from k8snetlab.store.protocol import Event, StoreWrite


class CountingStore(EmbeddedStore):
    def __init__(self) -> None:
        super().__init__(":memory:")
        self.visits, self.broken = 0, False

    async def write_many(self, writes: Sequence[StoreWrite]) -> Sequence[Event | K8sNetLabError]:
        self.visits += 1
        if self.broken:
            raise StoreError("the disk is full")
        return await super().write_many(writes)


def in_cluster(test: Callable[[Cluster, CountingStore], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        store = CountingStore()
        informer = Informer(store)
        await informer.start()
        cluster = Cluster(store, informer)
        try:
            async with asyncio.timeout(60):
                await test(cluster, store)
        finally:
            await cluster.close()
            await informer.close()
            await store.close()

    asyncio.run(run())


def a_map(name: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data={"a": "b"})


def test_what_is_asked_for_in_one_turn_is_one_visit_and_one_copy_of_the_mapping(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copies: list[int] = []
    changed = Objects.changed

    def counted(self: Objects[Any], changes: Any) -> Objects[Any]:
        copies.append(len(self))
        return changed(self, changes)

    async def test(cluster: Cluster, store: CountingStore) -> None:
        monkeypatch.setattr(Objects, "changed", counted)
        made = await asyncio.gather(*(cluster.create(a_map(f"m{number}")) for number in range(300)))
        visits = -(-300 // TOGETHER)
        assert store.visits == visits and len(copies) == visits
        revisions = [int(one.metadata.resourceVersion) for one in made]
        assert revisions == sorted(revisions) and len(set(revisions)) == 300
        assert [one.name for one in cluster.snapshot.all(ConfigMap).values()] == [f"m{n}" for n in range(300)]

    in_cluster(test)


def test_each_succeeds_or_is_refused_on_its_own() -> None:
    async def test(cluster: Cluster, store: CountingStore) -> None:
        await cluster.create(a_map("there"))
        store.visits = 0
        asked = [a_map(name) for name in ("there", "one", "No Name", "one", "two")]
        outcomes = await asyncio.gather(*map(cluster.create, asked), return_exceptions=True)
        kinds = [type(one) for one in outcomes]
        assert kinds == [AlreadyExistsError, ConfigMap, ManifestError, AlreadyExistsError, ConfigMap]
        assert str(outcomes[0]) == "configmaps 'there' already exists" and "'one' already exists" in str(outcomes[3])
        assert store.visits == 1 and len(cluster.snapshot.all(ConfigMap)) == 3

    in_cluster(test)


def test_a_store_that_fails_is_told_to_all_and_the_next_is_created() -> None:
    async def test(cluster: Cluster, store: CountingStore) -> None:
        store.broken = True
        outcomes = await asyncio.gather(*map(cluster.create, map(a_map, "abc")), return_exceptions=True)
        assert [type(one) for one in outcomes] == [StoreError] * 3
        store.broken = False
        assert (await cluster.create(a_map("d"))).name == "d"

    in_cluster(test)


def test_who_goes_keeps_no_other_from_its_object() -> None:
    async def test(cluster: Cluster, store: CountingStore) -> None:
        tasks = [asyncio.create_task(cluster.create(a_map(name))) for name in "abc"]
        await asyncio.sleep(0)
        tasks[0].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(outcomes[0], asyncio.CancelledError)
        assert [getattr(one, "name", "") for one in outcomes[1:]] == ["b", "c"]

    in_cluster(test)


def test_services_of_one_turn_get_addresses_of_their_own() -> None:
    async def test(cluster: Cluster, store: CountingStore) -> None:
        ports = (ServicePort(port=80),)
        asked = [
            Service(metadata=ObjectMeta(name=f"s{number}", namespace="default"), spec=ServiceSpec(ports=ports))
            for number in range(30)
        ]
        made = await asyncio.gather(*map(cluster.create, asked))
        assert len({one.spec.clusterIP for one in made} - {""}) == 30

    in_cluster(test)


def test_when_the_loop_ends_nobody_waits_for_ever() -> None:
    async def never(objects: Sequence[Any]) -> Sequence[Any]:
        await asyncio.Event().wait()
        return objects

    async def run() -> None:
        creations = Creations(never)
        waiting = [asyncio.create_task(creations.of(a_map(name))) for name in "ab"]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        (task,) = [one for one in asyncio.all_tasks() if one.get_name() == "creations"]
        task.cancel()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in outcomes)

    asyncio.run(run())
