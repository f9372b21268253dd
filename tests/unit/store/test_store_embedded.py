"""What is the embedded store's alone: its file, its history and its clock."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import pytest

from k8snetlab.api.lab import StoreSpec
from k8snetlab.errors import CompactedError, InputError, NotFoundError, StoreError
from k8snetlab.store.embedded import EmbeddedStore
from k8snetlab.store.etcd import EtcdStore
from k8snetlab.store.open import open_store
from k8snetlab.store.protocol import Create, Delete, Event
from k8snetlab.testing import FakeClock
from k8snetlab.testing.etcd import take

pytestmark = pytest.mark.anyio

WRITER = """
import asyncio, sys
from k8snetlab.store.embedded import EmbeddedStore

async def main():
    store = EmbeddedStore(sys.argv[1])
    lease = await store.grant(50)
    await store.create("/leased", b"", lease)
    number = 0
    while True:
        entry = await store.create(f"/w/{number}", str(number).encode())
        print(entry.mod_revision, lease, flush=True)
        number += 1

asyncio.run(main())
"""


async def test_a_killed_writer_loses_no_answered_write(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout
    lines = [writer.stdout.readline() for _ in range(200)]
    os.kill(writer.pid, signal.SIGKILL)
    lines += writer.stdout.readlines()
    writer.wait()
    writer.stdout.close()
    last, lease = (int(word) for word in [line for line in lines if line.endswith("\n")][-1].split())

    store = EmbeddedStore(path)
    listing = await store.list("/w/")
    values = {entry.key: entry.value for entry in listing.entries}
    assert listing.revision - last in (0, 1), "at most the write that was not answered yet came after"
    assert values == {f"/w/{i}": str(i).encode() for i in range(len(values))}
    async with aclosing(store.watch("/w/", 1)) as watch:
        assert len(await take(watch, len(values))) == len(values)
    assert await store.keep_alive(lease) == 50
    assert (await store.create("/after", b"")).mod_revision == listing.revision + 1
    await store.close()


async def test_a_reopened_store_goes_on_where_it_was(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "store.db")
    first = await store.create("/w/1", b"1")
    gone = await store.delete("/w/1", first.mod_revision)
    await store.compact(gone)
    await store.close()
    store = EmbeddedStore(tmp_path / "store.db")
    assert (await store.list("")).revision == gone
    with pytest.raises(CompactedError):
        await store.list("", first.mod_revision)
    assert (await store.create("/w/1", b"2")).create_revision == gone + 1
    await store.close()


async def test_a_second_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = EmbeddedStore(path)
    code = "import asyncio,sys\nfrom k8snetlab.store.embedded import EmbeddedStore\n"
    code += "async def main(): EmbeddedStore(sys.argv[1])\nasyncio.run(main())"
    second = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert second.returncode == 1
    assert "StoreError: store" in second.stderr and "database is locked" in second.stderr
    with pytest.raises(StoreError, match="locked") as caught:
        EmbeddedStore(path)
    assert "another daemon" in caught.value.hint
    await store.create("/w/1", b"")
    await store.close()


async def test_files_that_are_no_store_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database at all" * 100)
    with pytest.raises(StoreError, match="not a database"):
        EmbeddedStore(tmp_path / "text")
    with pytest.raises(StoreError, match="unable to open"):
        EmbeddedStore(tmp_path / "none" / "store.db")
    with sqlite3.connect(tmp_path / "newer") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="layout 99"):
        EmbeddedStore(tmp_path / "newer")


async def test_leases_end_by_the_given_clock() -> None:
    clock = FakeClock()
    store = EmbeddedStore(":memory:", clock=clock)
    lease, other = await store.grant(10), await store.grant(100)
    await store.create("/l/1", b"", lease)
    await store.create("/l/2", b"", other)
    async with aclosing(store.watch("/l/", 3)) as watch:
        clock.now += 9
        assert await store.keep_alive(lease) == 10
        clock.now += 9
        store.expire_leases()
        assert await store.get("/l/1")
        clock.now += 1
        with pytest.raises(NotFoundError, match=f"lease {lease}"):
            await store.keep_alive(lease)
        store.expire_leases()
        assert [event.type for event in await take(watch, 1)] == ["delete"]
    assert [entry.key for entry in (await store.list("/l/")).entries] == ["/l/2"]
    assert await store.grant(1) not in (lease, other)
    await store.close()


async def test_history_is_bounded_and_the_present_is_not_touched(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "store.db", history=100)
    old = await store.create("/old", b"kept")
    entry = await store.create("/busy", b"0")
    idle = store.watch("/old", entry.mod_revision)
    waiting = asyncio.ensure_future(take(idle, 1))
    await asyncio.sleep(0)
    for i in range(1000):
        entry = await store.update("/busy", str(i).encode(), entry.mod_revision)
        await store.create(f"/gone/{i}", b"")
        await store.delete(f"/gone/{i}")
    assert await store.get("/old") == old
    assert (await store.list("")).entries == (entry, old)
    assert (await store.list("/busy", entry.mod_revision - 90)).entries[0].mod_revision <= entry.mod_revision - 90
    with pytest.raises(CompactedError):
        await store.list("", entry.mod_revision - 200)
    touched = await store.update("/old", b"new", old.mod_revision)
    assert await waiting == [Event("put", touched)]
    await idle.aclose()
    await store.close()
    with sqlite3.connect(tmp_path / "store.db") as db:
        assert db.execute("SELECT COUNT(*) FROM kv").fetchone()[0] < 150
    db.close()


async def test_a_watch_that_is_not_read_must_list_again() -> None:
    store = EmbeddedStore(":memory:", history=50)
    first = await store.create("/w/first", b"")
    async with aclosing(store.watch("/w/", first.mod_revision - 1)) as watch:
        await take(watch, 1)
        for i in range(51):
            await store.create(f"/w/{i}", b"")
        with pytest.raises(CompactedError):
            await take(watch, 1)
    await store.close()


async def test_a_failed_bulk_write_leaves_nothing(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "store.db")
    before = await store.create("/w/0", b"")
    store._db.rows("PRAGMA max_page_count = 40")
    watch = store.watch("/w/", before.mod_revision)
    waiting = asyncio.ensure_future(take(watch, 1))
    await asyncio.sleep(0)
    with pytest.raises(StoreError, match="full") as caught:
        await store.write_many([Delete("/w/0")] + [Create(f"/w/{i}", b"x" * 10_000) for i in range(1, 100)])
    assert "make room" in caught.value.hint
    assert (await store.list("")).entries == (before,)
    store._db.rows("PRAGMA max_page_count = 4000")
    after = await store.create("/w/1", b"")
    assert after.mod_revision == before.mod_revision + 1
    assert await waiting == [Event("put", after)]
    await watch.aclose()
    await store.close()


async def test_open_store_opens_the_kind_that_the_lab_names(tmp_path: Path) -> None:
    embedded = open_store(StoreSpec(), tmp_path / "store.db")
    assert isinstance(embedded, EmbeddedStore)
    await embedded.create("/w/1", b"")
    assert (tmp_path / "store.db").exists()
    await embedded.close()
    etcd = open_store(StoreSpec(type="etcd", endpoints=("http://127.0.0.1:2379",)), tmp_path / "unused")
    assert isinstance(etcd, EtcdStore)
    await etcd.close()
    with pytest.raises(InputError, match=r"store\.endpoints is empty"):
        open_store(StoreSpec(type="etcd"), tmp_path / "unused")
