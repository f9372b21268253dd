"""Fixtures of the tests that need no root."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedClient
from stores import Connect, StartEtcd

from k8snetlab.store.embedded import EmbeddedStore
from k8snetlab.store.etcd import EtcdStore
from k8snetlab.store.protocol import Delete, Store
from k8snetlab.store.serve import EtcdProcess
from k8snetlab.testing.etcd import start_etcd


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> ScriptedClient:
    """The one lab that the verbs find."""
    from k8snetlab.client import client

    scripted = ScriptedClient()

    def find(name: str | None = None) -> ScriptedClient:
        scripted.asked.append(("find", name))
        return scripted

    monkeypatch.setattr(client.Client, "find", staticmethod(find))
    return scripted


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def run_etcd() -> Iterator[StartEtcd]:
    """`start_etcd`; whatever it started is killed at the end."""
    started: list[EtcdProcess] = []

    def start(*arguments: object, **options: object) -> EtcdProcess:
        started.append(start_etcd(*arguments, **options))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for process in started:
        process.kill()
        shutil.rmtree(process.directory, ignore_errors=True)


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    """One etcd for all tests that only need some etcd."""
    directory = tmp_path_factory.mktemp("etcd")
    process = start_etcd(directory)
    try:
        process.wait_ready()
        yield process
    finally:
        process.kill()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """EtcdStore; each is closed at the end."""
    stores: list[EtcdStore] = []

    def make(*arguments: Any, **options: Any) -> EtcdStore:
        stores.append(EtcdStore(*arguments, **options))
        return stores[-1]

    yield make
    for store in stores:
        await store.close()


@pytest.fixture(params=["embedded", pytest.param("etcd", marks=pytest.mark.etcd)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Each kind of store, empty."""
    opened: Store
    if request.param == "embedded":
        opened = EmbeddedStore(tmp_path / "store.db")
    else:
        opened = EtcdStore([request.getfixturevalue("etcd").endpoint])
        leftovers = (await opened.list("")).entries  # the server is shared by the tests
        await opened.write_many([Delete(entry.key) for entry in leftovers])
    yield opened
    await opened.close()
