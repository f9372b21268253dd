"""The informer: a Snapshot that is what the store holds, in the order of creation, whatever happens."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from stores import Connect, StartEtcd

from k8snetlab.api import decoding, scheme
from k8snetlab.api.core import Node, Pod
from k8snetlab.api.events import Event as Happened
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object, ObjectMeta
from k8snetlab.errors import StoreError
from k8snetlab.store.embedded import EmbeddedStore
from k8snetlab.store.informer import Informer
from k8snetlab.store.protocol import Create, Delete, Entry, Event, Store
from k8snetlab.testing.etcd import Proxy

pytestmark = pytest.mark.anyio


def pod(name: str, **labels: str) -> Pod:
    return Pod(metadata=ObjectMeta(name=name, namespace="default", labels=labels))


def node(name: str) -> Node:
    return Node(metadata=ObjectMeta(name=name))


async def put(store: Store, obj: Object) -> Entry:
    return await store.create(scheme.store_key(obj), scheme.encode(obj))


async def change(store: Store, obj: Object) -> Entry:
    key = scheme.store_key(obj)
    have = await store.get(key)
    assert have
    return await store.update(key, scheme.encode(obj), have.mod_revision)


def names(informer: Informer, type_: type[Object] = Pod) -> list[str]:
    return [obj.name for obj in informer.snapshot.all(type_).values()]


async def agree(informer: Informer, store: Store) -> None:
    """The snapshot is what the store holds now."""
    listing = await store.list("/registry/")
    async with asyncio.timeout(30):
        while informer.snapshot.revision < listing.revision:
            await asyncio.sleep(0.01)
    expected: dict[type[Object], list[tuple[str, str]]] = {}
    for entry in sorted(listing.entries, key=lambda e: (e.create_revision, e.key)):
        resource = scheme.resource_for_key(entry.key)
        if resource and entry.key not in informer.problems:
            obj = decoding.decode(resource.type, entry.value)
            expected.setdefault(resource.type, []).append((obj.name, str(entry.mod_revision)))
    shown = {
        type_: [(o.name, o.metadata.resourceVersion) for o in objects.values()]
        for type_, objects in informer.snapshot.objects.items()
        if objects
    }
    assert shown == expected


@pytest.fixture
async def informer(store: Store) -> AsyncIterator[Informer]:
    await put(store, pod("zebra"))
    await put(store, pod("ant"))
    informer = Informer(store)
    await informer.start()
    yield informer
    await informer.close()


async def test_start_lists_in_the_order_of_creation(store: Store, informer: Informer) -> None:
    assert names(informer) == ["zebra", "ant"]
    await agree(informer, store)
    zebra = informer.snapshot.get(Pod, "zebra", "default")
    entry = await store.get("/registry/pods/default/zebra")
    assert zebra and entry and zebra.metadata.resourceVersion == str(entry.mod_revision)


async def test_changes_are_followed(store: Store, informer: Informer) -> None:
    await put(store, node("node1"))
    await put(store, pod("bee"))
    await change(store, pod("zebra", app="web"))
    await store.delete("/registry/pods/default/ant")
    last = await put(store, pod("ant"))
    snapshot = await informer.reached(last.mod_revision)
    assert snapshot.revision == last.mod_revision
    assert names(informer) == ["zebra", "bee", "ant"]
    zebra = snapshot.get(Pod, "zebra", "default")
    assert zebra and zebra.metadata.labels == {"app": "web"}
    await agree(informer, store)


async def test_changes_yields_each_turn_with_the_one_before(store: Store, informer: Informer) -> None:
    async with aclosing(informer.changes()) as changes:
        first, before = await anext(changes)
        assert before.objects == {} and list(first.all(Pod)) == [("default", "zebra"), ("default", "ant")]
        one, two = await put(store, pod("one")), await put(store, node("two"))
        await informer.reached(two.mod_revision)
        second, before = await anext(changes)
        assert before is first
        assert second.revision == two.mod_revision > one.mod_revision
        waiting = asyncio.ensure_future(anext(changes))
        await put(store, node("three"))
        third, before = await waiting
        assert before is second
        assert third.all(Pod) is second.all(Pod), "kinds without a change are shared"
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        await informer.close()
        with pytest.raises(StopAsyncIteration):
            await waiting
    with pytest.raises(StoreError, match="closed"):
        await informer.reached(third.revision + 1)


async def test_who_follows_some_kinds_is_woken_for_these_alone(store: Store, informer: Informer) -> None:
    turns: list[list[str]] = []

    async def follow() -> None:
        async for now, _ in informer.changes(kinds=(Node, Lab)):
            turns.append([name for _, name in now.all(Node)])

    following = asyncio.create_task(follow())
    for number in range(20):
        await put(store, pod(f"p-{number}"))
        await agree(informer, store)
    assert turns == [], "there is neither a Node nor a Lab"
    await put(store, node("n1"))
    await agree(informer, store)
    await put(store, pod("last"))
    await agree(informer, store)
    await asyncio.sleep(0)
    assert turns == [["n1"]]
    following.cancel()


async def test_values_that_are_no_objects_are_kept_out(
    store: Store, informer: Informer, caplog: pytest.LogCaptureFixture
) -> None:
    junk = {
        "/registry/pods/default/bytes": b"\xff\xfe",
        "/registry/pods/default/string": b'{"metadata": {"name": "\xff"}}',
        "/registry/pods/default/empty": b"",
        "/registry/pods/default/list": b"[]",
        "/registry/pods/default/deep": b'{"x":' + b"[" * 100_000,
        "/registry/pods/default/other": scheme.encode(pod("name")),
    }
    for key, value in junk.items():
        await store.create(key, value)
    await store.create("/registry/horizontalpodautoscalers/default/e1", b"\xff")
    await store.create("/elsewhere", b"\xff")
    zebra = await store.get("/registry/pods/default/zebra")
    assert zebra
    broken = await store.update("/registry/pods/default/zebra", b"{", zebra.mod_revision)
    last = await put(store, pod("last"))
    await informer.reached(last.mod_revision)
    assert names(informer) == ["zebra", "ant", "last"], "zebra as it was when it was good"
    assert set(informer.problems) == {*junk, "/registry/pods/default/zebra"}
    assert len([r for r in caplog.records if "kept out" in r.message]) == 7

    await store.update(broken.key, scheme.encode(pod("zebra", is_="whole")), broken.mod_revision)
    await store.delete("/registry/pods/default/list")
    empty = await store.get("/registry/pods/default/empty")
    assert empty
    mended = await store.update(empty.key, scheme.encode(pod("empty")), empty.mod_revision)
    await informer.reached(mended.mod_revision)
    assert names(informer) == ["zebra", "ant", "empty", "last"], "still in the order of creation"
    assert set(informer.problems) == {k for k in junk if not k.endswith(("list", "empty"))}
    await agree(informer, store)


async def test_own_writes_are_seen_at_once(store: Store, informer: Informer) -> None:
    entry = await put(store, pod("mine"))
    snapshot = informer.apply_local(entry)
    assert snapshot is informer.snapshot
    mine = snapshot.get(Pod, "mine", "default")
    assert mine and mine.metadata.resourceVersion == str(entry.mod_revision)
    results = await store.write_many([Delete("/registry/pods/default/ant"), Create("/registry/minions/n", b"{")])
    events = [result for result in results if isinstance(result, Event)]
    assert names_in(informer.apply_local(*events)) == ["zebra", "mine"]
    assert "/registry/minions/n" in informer.problems
    await agree(informer, store)
    before = informer.snapshot
    assert informer.apply_local(entry, *events).objects == before.objects
    assert names(informer) == ["zebra", "mine"]


async def test_when_an_object_changed_last_is_known_whatever_is_reported(store: Store, informer: Informer) -> None:
    began = informer.moved
    told = Happened(metadata=ObjectMeta(name="told", namespace="default"), reason="Pulled")
    informer.apply_local(await put(store, told))
    assert informer.moved == began and len(informer.snapshot.all(Happened)) == 1
    informer.apply_local(await put(store, pod("mine")))
    assert informer.moved > began


def names_in(snapshot: object) -> list[str]:
    return [obj.name for obj in snapshot.all(Pod).values()]  # type: ignore[attr-defined]


async def test_local_writes_in_any_order_end_as_the_store_has_it() -> None:
    """Every interleaving of the watch with local applications, late, early, twice or never."""
    for seed in range(60):
        dice = random.Random(seed)
        store = EmbeddedStore(":memory:")
        informer = Informer(store)
        await informer.start()
        waiting: list[Event] = []
        for _ in range(60):
            name = dice.choice("abcdef")
            key = scheme.store_key(pod(name))
            have = await store.get(key)
            if have and dice.random() < 0.5:
                waiting.append(Event("delete", Entry(key, b"", 0, await store.delete(key))))
            elif have:
                waiting.append(Event("put", await change(store, pod(name, n=str(dice.random())))))
            else:
                waiting.append(Event("put", await put(store, pod(name))))
            if dice.random() < 0.5:
                dice.shuffle(waiting)
                for event in waiting[: dice.randint(0, len(waiting))]:
                    informer.apply_local(event)
                shown = informer.snapshot.get(Pod, name, "default")
                informer.apply_local(waiting[0])
                assert shown is None or shown.name == name
            if dice.random() < 0.2:
                await asyncio.sleep(0)
            if dice.random() < 0.3:
                waiting.clear()
        await agree(informer, store)
        informer.apply_local(*waiting)
        await agree(informer, store)
        await informer.close()


async def test_after_a_compaction_the_difference_is_taken_in(
    run_etcd: StartEtcd, tmp_path: Path, connect: Connect
) -> None:
    etcd = run_etcd(tmp_path / "etcd")
    etcd.wait_ready()
    async with Proxy(urlsplit(etcd.endpoint).port or 0) as proxy:
        direct, store = connect([etcd.endpoint]), connect([proxy.endpoint], timeout=0.3, patience=0.3)
        for name in ("a", "b", "c"):
            await put(direct, pod(name))
        informer = Informer(store, retry=0.05)
        await informer.start()
        before = informer.snapshot
        proxy.silent = True
        while informer.health().healthy:
            await asyncio.sleep(0.02)
        assert "no answer in time" in informer.health().problem
        assert informer.snapshot is before, "nothing is torn down"
        await direct.delete("/registry/pods/default/a")
        await put(direct, pod("a"))
        await direct.delete("/registry/pods/default/b")
        last = await put(direct, pod("aa"))
        await direct.compact(last.mod_revision)
        proxy.silent = False
        proxy.cut()
        await informer.reached(last.mod_revision)
        assert names(informer) == ["c", "a", "aa"]
        await agree(informer, direct)
        assert informer.health().healthy
        await informer.close()


async def test_a_store_that_lost_its_data_empties_nothing(
    run_etcd: StartEtcd, tmp_path: Path, connect: Connect
) -> None:
    etcd = run_etcd(tmp_path / "first")
    etcd.wait_ready()
    store = connect([etcd.endpoint])
    for obj in (node("node1"), pod("a"), pod("b"), Lab(metadata=ObjectMeta(name="lab"))):
        await put(store, obj)
    informer = Informer(store, retry=0.05)
    before = await informer.start()
    etcd.kill()
    run_etcd(tmp_path / "second", port=urlsplit(etcd.endpoint).port).wait_ready()
    async with asyncio.timeout(30):
        while not informer.lost:
            await asyncio.sleep(0.02)
    assert "lost its data" in informer.health().problem
    await put(store, pod("b"))
    await put(store, node("node1"))
    await asyncio.sleep(0.3)
    assert informer.snapshot.objects == before.objects
    await put(store, Lab(metadata=ObjectMeta(name="lab")))
    async with asyncio.timeout(30):
        while informer.lost:
            await asyncio.sleep(0.02)
    assert names(informer) == ["b"]
    await agree(informer, store)
    assert informer.health().healthy
    await put(store, pod("c"))
    await agree(informer, store)
    await informer.close()


async def test_start_tells_that_the_store_does_not_answer(connect: Connect) -> None:
    store = connect(["http://127.0.0.1:1"], timeout=0.1)
    with pytest.raises(StoreError, match="etcd does not answer"):
        await Informer(store).start()
    await store.close()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("/registry/pods/default/x", b"\xff\x00garbage"),
        ("/registry/pods/default/x", b"[" * 100_000),
        ("/registry/pods/default/x", b'{"metadata": {"name": "y", "namespace": "default"}}'),
        ("/registry/pods/../../etc/x", b'{"metadata": {"name": "../etc/x", "namespace": ".."}}'),
        ("/registry/pods/default/a\nb", b'{"metadata": {"name": "a\\nb", "namespace": "default"}}'),
        ('/registry/services/specs/default/a"b', b'{"metadata": {"name": "a\\"b", "namespace": "default"}}'),
        ("/registry/minions/x", b'{"metadata": {"name": "x"}, "spec": {"podCIDR": "everything"}}'),
    ],
)
async def test_what_is_no_object_is_named_and_passed_over(
    store: Store, informer: Informer, key: str, value: bytes
) -> None:
    entry = await store.create(key, value)
    last = await put(store, pod("bee"))
    await informer.reached(last.mod_revision)
    assert names(informer) == ["zebra", "ant", "bee"]
    assert set(informer.problems) == {key}
    await store.delete(key, entry.mod_revision)
    last = await put(store, pod("cat"))
    await informer.reached(last.mod_revision)
    assert informer.problems == {}
