"""What every store must do, run against SQLite and against a real etcd."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from k8snetlab.errors import (
    AlreadyExistsError,
    CompactedError,
    ConflictError,
    K8sNetLabError,
    NotFoundError,
    StoreError,
)
from k8snetlab.store.protocol import (
    Create,
    DataLostError,
    Delete,
    Entry,
    Event,
    Store,
    Update,
)
from k8snetlab.testing.etcd import take

pytestmark = pytest.mark.anyio
POD = "/registry/pods/default/web"


async def test_what_is_created_is_got_with_its_revision(store: Store) -> None:
    assert await store.get(POD) is None
    entry = await store.create(POD, b"\x00\xffone")
    assert entry == Entry(POD, b"\x00\xffone", entry.mod_revision, entry.mod_revision)
    assert await store.get(POD) == entry


async def test_create_refuses_an_existing_key(store: Store) -> None:
    entry = await store.create(POD, b"one")
    with pytest.raises(AlreadyExistsError, match=POD):
        await store.create(POD, b"two")
    assert await store.get(POD) == entry


async def test_update_keeps_the_create_revision(store: Store) -> None:
    first = await store.create(POD, b"one")
    second = await store.update(POD, b"two", first.mod_revision)
    assert second == Entry(POD, b"two", first.create_revision, first.mod_revision + 1)
    assert await store.get(POD) == second


async def test_lost_race_is_a_conflict(store: Store) -> None:
    first = await store.create(POD, b"one")
    second = await store.update(POD, b"two", first.mod_revision)
    with pytest.raises(ConflictError, match=f"is at revision {second.mod_revision}, not at {first.mod_revision}"):
        await store.update(POD, b"three", first.mod_revision)
    with pytest.raises(ConflictError):
        await store.delete(POD, first.mod_revision)
    assert await store.get(POD) == second


@pytest.mark.parametrize("revision", [0, 1])
async def test_update_of_nothing_is_a_conflict(store: Store, revision: int) -> None:
    with pytest.raises(ConflictError, match="is gone"):
        await store.update(POD, b"one", revision)
    assert await store.get(POD) is None


async def test_what_is_deleted_is_gone_and_cannot_be_deleted_again(store: Store) -> None:
    entry = await store.create(POD, b"one")
    assert await store.delete(POD, entry.mod_revision) == entry.mod_revision + 1
    assert await store.get(POD) is None
    with pytest.raises(NotFoundError, match=POD):
        await store.delete(POD)
    with pytest.raises(NotFoundError, match=POD):
        await store.delete(POD, entry.mod_revision)
    again = await store.create(POD, b"two")
    assert again.create_revision == entry.mod_revision + 2
    assert await store.delete(POD) == again.mod_revision + 1


async def test_many_writers_of_one_key_lose_no_write(store: Store) -> None:
    await store.create("/counter", b"0")
    conflicts = 0

    async def add_five() -> None:
        nonlocal conflicts
        for _ in range(5):
            while True:
                entry = await store.get("/counter")
                assert entry
                try:
                    await store.update("/counter", str(int(entry.value) + 1).encode(), entry.mod_revision)
                    break
                except ConflictError:
                    conflicts += 1
                    await asyncio.sleep(0)

    await asyncio.gather(*(add_five() for _ in range(8)))
    entry = await store.get("/counter")
    assert entry and entry.value == b"40"


async def test_one_of_twenty_racing_creators_wins(store: Store) -> None:
    async def claim(name: str) -> bool:
        try:
            await store.create("/lease/10.5.34.0-24", name.encode())
        except AlreadyExistsError:
            return False
        return True

    won = await asyncio.gather(*(claim(f"node{i}") for i in range(20)))
    entry = await store.get("/lease/10.5.34.0-24")
    assert won.count(True) == 1
    assert entry and entry.value == f"node{won.index(True)}".encode()


async def test_list_is_sorted_and_holds_the_prefix_only(store: Store) -> None:
    for key in ("/a/b", "/a/c", "/a/", "/a0", "/b/a", "/a/ä", "/a/b/c"):
        last = await store.create(key, key.encode())
    listing = await store.list("/a/")
    assert [entry.key for entry in listing.entries] == ["/a/", "/a/b", "/a/b/c", "/a/c", "/a/ä"]
    assert all(entry.value == entry.key.encode() for entry in listing.entries)
    assert listing.revision == last.mod_revision
    assert len((await store.list("")).entries) == 7
    assert (await store.list("/none/")).entries == ()


async def test_list_at_a_revision(store: Store) -> None:
    first = await store.create("/a/1", b"old")
    other = await store.create("/a/2", b"here")
    await store.update("/a/1", b"new", first.mod_revision)
    await store.delete("/a/2")
    last = await store.create("/a/3", b"late")
    then = await store.list("/a/", other.mod_revision)
    assert then.entries == (first, other)
    assert then.revision == other.mod_revision
    assert [entry.value for entry in (await store.list("/a/")).entries] == [b"new", b"late"]
    with pytest.raises(StoreError) as caught:
        await store.list("/a/", last.mod_revision + 1)
    assert not isinstance(caught.value, CompactedError)


async def test_list_of_more_than_a_page(store: Store) -> None:
    await store.write_many([Create(f"/many/{i:05}", b"x" * 10) for i in range(4500)])
    listing = await store.list("/many/")
    assert [entry.key for entry in listing.entries] == [f"/many/{i:05}" for i in range(4500)]


async def test_write_many_answers_each_write(store: Store) -> None:
    one = await store.create("/w/1", b"1")
    two = await store.create("/w/2", b"2")
    results = await store.write_many(
        [
            Create("/w/0", b"0"),
            Create("/w/1", b"again"),
            Update("/w/1", b"11", one.mod_revision),
            Update("/w/1", b"111", one.mod_revision),
            Delete("/w/2", two.mod_revision),
            Delete("/w/2"),
            Create("/w/2", b"22"),
            Update("/w/9", b"9", 7),
        ]
    )
    kinds = [type(r) if isinstance(r, K8sNetLabError) else r.type for r in results]
    assert kinds == [
        "put", AlreadyExistsError, "put", ConflictError, "delete", NotFoundError, "put", ConflictError
    ]  # fmt: skip
    held = {entry.key: entry for entry in (await store.list("/w/")).entries}
    assert {key: entry.value for key, entry in held.items()} == {"/w/0": b"0", "/w/1": b"11", "/w/2": b"22"}
    assert [results[0], results[2], results[6]] == [Event("put", held[key]) for key in ("/w/0", "/w/1", "/w/2")]
    deletion = results[4]
    assert isinstance(deletion, Event)
    assert deletion.entry == Entry("/w/2", b"", 0, deletion.entry.mod_revision)
    assert two.mod_revision < deletion.entry.mod_revision < held["/w/2"].create_revision


async def test_write_many_knows_of_every_key_what_it_holds_also_of_a_thousand(store: Store) -> None:
    first = [Create(f"/m/{i}", b"1") for i in range(1000)]
    assert all(isinstance(result, Event) for result in await store.write_many(first))
    await store.delete("/m/7")
    results = await store.write_many([Create(f"/m/{i}", b"2") for i in range(1001)])
    done = [write for write, result in enumerate(results) if isinstance(result, Event)]
    assert done == [7, 1000]
    assert all(isinstance(results[i], AlreadyExistsError) for i in range(1000) if i != 7)


async def test_watch_from_a_revision_sees_what_was_and_what_comes(store: Store) -> None:
    before = await store.create("/w/0", b"before")
    first = await store.create("/w/1", b"1")
    await store.create("/elsewhere", b"")
    async with aclosing(store.watch("/w/", before.mod_revision)) as watch:
        assert await take(watch, 1) == [Event("put", first)]
        second = await store.update("/w/1", b"2", first.mod_revision)
        assert await take(watch, 1) == [Event("put", second)]
        revision = await store.delete("/w/1")
        assert await take(watch, 1) == [Event("delete", Entry("/w/1", b"", 0, revision))]
    async with aclosing(store.watch("/w/", before.mod_revision)) as again:
        events = await take(again, 3)
    assert [event.type for event in events] == ["put", "put", "delete"]
    async with aclosing(store.watch("/w/", first.mod_revision)) as middle:
        assert (await take(middle, 1))[0] == Event("put", second)


async def test_watch_delivers_every_event_once_and_in_order(store: Store) -> None:
    start = (await store.list("/w/")).revision

    async def write(name: str) -> None:
        for i in range(40):
            await store.create(f"/w/{name}/{i}", b"")

    async with aclosing(store.watch("/w/", start)) as early:
        writers = asyncio.gather(*(write(name) for name in "abcde"))
        seen = await take(early, 200)
        await writers
    async with aclosing(store.watch("/w/", start)) as late:
        assert await take(late, 200) == seen
    revisions = [event.entry.mod_revision for event in seen]
    assert revisions == sorted(set(revisions))
    assert len({event.entry.key for event in seen}) == 200


async def test_a_bulk_write_reaches_a_watch_whole(store: Store) -> None:
    start = (await store.list("/w/")).revision
    async with aclosing(store.watch("/w/", start)) as watch:
        results = await store.write_many([Create(f"/w/{i:04}", b"") for i in range(250)])
        assert await take(watch, 250) == list(results)


async def test_compaction_ends_watches_and_lists_of_older_revisions(store: Store) -> None:
    first = await store.create("/w/1", b"1")
    second = await store.update("/w/1", b"2", first.mod_revision)
    gone = await store.delete("/w/1")
    last = await store.create("/w/2", b"2")
    await store.compact(gone)  # type: ignore[attr-defined]
    for revision in (first.mod_revision, second.mod_revision):
        with pytest.raises(CompactedError) as caught:
            await take(store.watch("/w/", revision), 1)
        assert not isinstance(caught.value, DataLostError)
        with pytest.raises(CompactedError):
            await store.list("/w/", revision)
    async with aclosing(store.watch("/w/", gone)) as watch:
        assert await take(watch, 1) == [Event("put", last)]
    assert (await store.list("/w/")).entries == (last,)
    with pytest.raises(CompactedError):
        await store.compact(gone)  # type: ignore[attr-defined]


async def test_a_running_watch_lives_through_compaction(store: Store) -> None:
    first = await store.create("/w/1", b"1")
    async with aclosing(store.watch("/w/", first.mod_revision - 1)) as watch:
        await take(watch, 1)
        other = await store.create("/elsewhere", b"")
        await store.compact(other.mod_revision)  # type: ignore[attr-defined]
        second = await store.update("/w/1", b"2", first.mod_revision)
        assert await take(watch, 1) == [Event("put", second)]


async def test_a_watch_from_the_future_says_that_data_was_lost(store: Store) -> None:
    entry = await store.create("/w/1", b"1")
    with pytest.raises(DataLostError, match=f"{entry.mod_revision}"):
        await take(store.watch("/w/", entry.mod_revision + 100), 1)


async def test_an_expired_lease_deletes_its_keys(store: Store) -> None:
    lease = await store.grant(1)
    entry = await store.create("/l/1", b"1", lease)
    kept = await store.create("/l/2", b"2")
    assert entry.lease == lease
    async with aclosing(store.watch("/l/", kept.mod_revision)) as watch:
        events = await take(watch, 1)
    assert [(event.type, event.entry.key) for event in events] == [("delete", "/l/1")]
    assert (await store.list("/l/")).entries == (kept,)
    with pytest.raises(NotFoundError):
        await store.keep_alive(lease)


async def test_a_lease_is_kept_alive_and_revoked(store: Store) -> None:
    lease = await store.grant(60)
    assert await store.keep_alive(lease) == 60
    assert 58 <= await store.time_to_live(lease) <= 60
    first = await store.create("/l/1", b"1", lease)
    second = await store.create("/l/2", b"2", lease)
    freed = await store.update("/l/2", b"22", second.mod_revision)
    assert freed.lease == 0
    await store.revoke(lease)
    assert (await store.list("/l/")).entries == (freed,)
    assert first.lease == lease
    for refused in (
        *(store.keep_alive(lease), store.time_to_live(lease), store.revoke(lease)),
        store.create("/l/3", b"3", lease),
    ):
        with pytest.raises(NotFoundError):
            await refused


async def test_a_store_in_order_is_healthy(store: Store) -> None:
    await store.get("/a")
    health = store.health()
    assert health.healthy and health.problem == ""
    assert health.age is not None


async def test_a_closed_store_ends_its_watches(store: Store) -> None:
    entry = await store.create("/w/1", b"1")
    watch = store.watch("/w/", entry.mod_revision - 1)
    await take(watch, 1)
    waiting = asyncio.ensure_future(take(watch, 1))
    await asyncio.sleep(0.05)
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await waiting
    with pytest.raises(StoreError, match="closed"):
        await store.get("/w/1")


async def test_the_newest_of_many_is_told_with_their_number(store: Store) -> None:
    assert await store.newest("/registry/pods/") == (0, 0)
    first = await store.create(POD, b"one")
    second = await store.create(f"{POD}2", b"two")
    await store.create("/registry/nodes/a", b"")
    assert await store.newest("/registry/pods/") == (2, second.mod_revision)
    third = await store.update(POD, b"three", first.mod_revision)
    assert await store.newest("/registry/pods/") == (2, third.mod_revision)
    await store.delete(POD)
    assert await store.newest("/registry/pods/") == (1, second.mod_revision)


async def test_writes_together_are_all_done_and_told_in_their_order(store: Store) -> None:
    old = await store.create(POD, b"one")
    gone = await store.create("/registry/pods/default/gone", b"x")
    writes = (
        Update(POD, b"two", old.mod_revision),
        Create("/registry/pods/default/new", b"new"),
        Delete(gone.key, gone.mod_revision),
    )
    done = await store.write_together(writes)
    assert [(one.type, one.entry.key, one.entry.value) for one in done] == [
        ("put", POD, b"two"),
        ("put", "/registry/pods/default/new", b"new"),
        ("delete", gone.key, b""),
    ]
    assert await store.get(POD) == done[0].entry and await store.get(gone.key) is None
    async with aclosing(store.watch("/registry/", gone.mod_revision)) as watch:
        assert await take(watch, 3) == list(done)


@pytest.mark.parametrize(
    "refused",
    [Create(POD, b"again"), Update(POD, b"two", 1), Delete("/registry/pods/default/nothing", None)],
)
async def test_of_writes_together_none_is_done_where_one_is_refused(
    store: Store, refused: Create | Update | Delete
) -> None:
    await store.create("/other", b"")
    old = await store.create(POD, b"one")
    with pytest.raises((AlreadyExistsError, ConflictError, NotFoundError), match=refused.key):
        await store.write_together((Create("/registry/pods/default/new", b"new"), refused))
    assert await store.get("/registry/pods/default/new") is None and await store.get(POD) == old


async def test_sixty_writes_together_are_not_too_many(store: Store) -> None:
    keys = [f"/registry/pods/default/p{number}" for number in range(60)]
    made = await store.write_together([Create(key, b"one") for key in keys])
    updates = [Update(one.entry.key, b"two", one.entry.mod_revision) for one in made]
    assert len(await store.write_together(updates)) == 60
    assert {entry.value for entry in (await store.list("/registry/pods/")).entries} == {b"two"}
