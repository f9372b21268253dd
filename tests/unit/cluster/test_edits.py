"""Many edits in one go: one visit to the store, and each pod's outcome is its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from k8snetlab.api.core import Pod
from k8snetlab.api.load import load
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import K8sNetLabError
from k8snetlab.store.embedded import EmbeddedStore
from k8snetlab.store.informer import Informer
from k8snetlab.store.protocol import Event, StoreWrite
from k8snetlab.testing.fake_cluster import LAB, deployment, service

POD = "---\n{apiVersion: v1, kind: Pod, metadata: {name: p%d}, spec: {containers: [{name: c, image: x}]}}\n"
PODS = "".join(POD % number for number in range(300))


class CountingStore(EmbeddedStore):
    """Counts how often it is written to, and how much."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.visits = self.writes = 0

    async def write_many(self, writes: Sequence[StoreWrite]) -> Sequence[Event | K8sNetLabError]:
        self.visits, self.writes = self.visits + 1, self.writes + len(writes)
        return await super().write_many(writes)


def in_cluster(test: Callable[[Cluster, CountingStore], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        store = CountingStore()
        informer = Informer(store)
        await informer.start()
        cluster = Cluster(store, informer)
        try:
            await cluster.apply_many(load([("f.yaml", PODS)]).objects)
            store.visits = store.writes = 0
            async with asyncio.timeout(60):
                await test(cluster, store)
        finally:
            await cluster.close()
            await informer.close()
            await store.close()

    asyncio.run(run())


def phase(said: str, stored: Pod) -> Pod:
    return replace(stored, status=replace(stored.status, phase=said))


def test_three_hundred_statuses_are_one_visit_and_one_change_of_the_snapshot() -> None:
    async def test(cluster: Cluster, store: CountingStore) -> None:
        pods, before = list(cluster.snapshot.all(Pod).values()), cluster.snapshot
        assert await cluster.edit_many([(pod, partial(phase, "Running")) for pod in pods]) == [None] * 300
        assert (store.visits, store.writes) == (1, 300)
        assert {pod.status.phase for pod in cluster.snapshot.all(Pod).values()} == {"Running"}
        assert len(list(cluster.snapshot.changes(Pod, before))) == 300
        await cluster.edit_many([(pod, partial(phase, "Running")) for pod in pods])
        assert (store.visits, store.writes) == (1, 300), "what is so already is not written"

    in_cluster(test)


def test_one_that_has_gone_or_fails_is_in_nobodys_way() -> None:
    async def test(cluster: Cluster, store: CountingStore) -> None:
        first, second, third = list(cluster.snapshot.all(Pod).values())[:3]
        await cluster.delete(first, force=True)

        def bug(stored: Pod) -> Pod:
            raise ValueError("a bug")

        gone, failed, done = await cluster.edit_many(
            [(first, partial(phase, "Failed")), (second, bug), (third, partial(phase, "Failed"))]
        )
        assert gone is None and done is None and str(failed) == "a bug"
        assert cluster.current(Pod, third.name, "default").status.phase == "Failed"
        assert cluster.current(Pod, second.name, "default").status.phase == "Pending"

    in_cluster(test)


def test_another_daemon_that_was_quicker_is_written_after() -> None:
    async def test(cluster: Cluster, store: CountingStore) -> None:
        mine, theirs = list(cluster.snapshot.all(Pod).values())[:2]
        entry = await store.get(f"/registry/pods/default/{theirs.name}")
        assert entry is not None
        await store.update(entry.key, entry.value.replace(b'"x"', b'"y"'), entry.mod_revision)
        assert await cluster.edit_many([(one, partial(phase, "Running")) for one in (mine, theirs)]) == [None, None]
        both = [cluster.current(Pod, one.name, "default") for one in (mine, theirs)]
        assert [pod.status.phase for pod in both] == ["Running", "Running"]
        assert [pod.spec.containers[0].image for pod in both] == ["x", "y"]

    in_cluster(test)


def test_one_that_fails_once_another_daemon_was_quicker_is_in_nobodys_way() -> None:
    async def test(cluster: Cluster, store: CountingStore) -> None:
        theirs = list(cluster.snapshot.all(Pod).values())[:2]
        for one in theirs:
            entry = await store.get(f"/registry/pods/default/{one.name}")
            assert entry is not None
            await store.update(entry.key, entry.value.replace(b'"x"', b'"y"'), entry.mod_revision)

        def at_first(stored: Pod) -> Pod:
            if stored.spec.containers[0].image == "y":
                raise ValueError("a bug")
            return phase("Running", stored)

        failed, done = await cluster.edit_many([(theirs[0], at_first), (theirs[1], partial(phase, "Running"))])
        assert str(failed) == "a bug" and done is None
        assert cluster.current(Pod, theirs[1].name, "default").status.phase == "Running"

    in_cluster(test)


def test_the_snapshot_holds_what_the_store_would_read_back() -> None:
    async def test(cluster: Cluster, store: CountingStore) -> None:
        controllers = asyncio.create_task(cluster.run_controllers())
        await cluster.apply_many(load([("g.yaml", LAB % 2 + deployment("web", 3) + service("web"))]).objects)
        await cluster.settled()
        pods = list(cluster.snapshot.all(Pod).values())
        await cluster.edit_many([(pod, partial(phase, "Running")) for pod in pods])
        await cluster.settled()
        controllers.cancel()
        await asyncio.gather(controllers, return_exceptions=True)
        fresh = Informer(store)
        read = await fresh.start()
        await fresh.close()
        for type_, objects in cluster.snapshot.objects.items():
            assert dict(objects) == dict(read.all(type_))
            assert list(objects) == list(read.all(type_))

    in_cluster(test)
