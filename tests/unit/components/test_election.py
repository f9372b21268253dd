"""Leader election by a Lease: one of several leads, never two, and another one follows when it falls silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from k8snetlab.api.coordination import Lease
from k8snetlab.api.events import Event
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.components import election
from k8snetlab.components.election import Election
from k8snetlab.components.main import main
from k8snetlab.controllers import components
from k8snetlab.controllers.reconcile import CONTROLLERS
from k8snetlab.errors import StoreError
from k8snetlab.store.embedded import EmbeddedStore
from k8snetlab.store.informer import Informer

pytestmark = pytest.mark.anyio
NAME = "kube-scheduler"


class Line:
    """A candidate's way to the store, which can be cut: writes are not answered then, and nothing is told."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store, self.cut = store, False

    def __getattr__(self, name: str) -> Any:
        if self.cut:
            raise StoreError("the line is cut")
        return getattr(self._store, name)


class Candidate:
    def __init__(self, store: EmbeddedStore, host: str) -> None:
        self.line: Any = Line(store)
        self.informer = Informer(self.line)
        self.cluster = Cluster(self.line, self.informer, shared=True)
        self.election = Election(self.cluster, NAME, host)

    async def begin(self) -> None:
        await self.informer.start()
        self.task = asyncio.create_task(self.election.run())

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def close(self) -> None:
        await self.end()
        await self.cluster.close()
        await self.informer.close()

    @property
    def lease(self) -> Lease:
        found = self.cluster.snapshot.get(Lease, NAME, "kube-system")
        assert found
        return found


@pytest.fixture
async def three(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Candidate]]:
    monkeypatch.setattr(election, "PERIOD", 0.1)
    store = EmbeddedStore(":memory:")
    found = [Candidate(store, f"host{n}") for n in range(3)]
    for one in found:
        await one.begin()
    async with never_two(found):
        yield found
    for one in found:
        await one.close()
    await store.close()


@asynccontextmanager
async def never_two(candidates: list[Candidate]) -> AsyncIterator[None]:
    async def look() -> None:
        while True:
            leading = [one.election.identity for one in candidates if one.election.leader]
            assert len(leading) < 2, leading
            await asyncio.sleep(0.01)

    looking = asyncio.create_task(look())
    yield
    looking.cancel()
    (ended,) = await asyncio.gather(looking, return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError), ended


async def leader(candidates: list[Candidate]) -> Candidate:
    async with asyncio.timeout(60):
        while not (found := [one for one in candidates if one.election.leader]):
            await asyncio.sleep(0.01)
    return found[0]


async def test_one_leads_and_renews_and_another_one_follows_when_its_line_is_cut(three: list[Candidate]) -> None:
    first = await leader(three)
    others = [one for one in three if one is not first]
    began = first.lease.spec
    assert (began.holderIdentity, began.leaseTransitions) == (first.election.identity, 0)
    async with asyncio.timeout(60):
        while first.lease.spec.renewTime == began.renewTime:
            await asyncio.sleep(0.01)
    assert first.lease.spec.acquireTime == began.acquireTime
    first.line.cut = True
    second = await leader(others)
    assert not first.election.leader
    spec = second.lease.spec
    assert (spec.holderIdentity, spec.leaseTransitions) == (second.election.identity, 1)
    first.line.cut = False
    async with asyncio.timeout(60):
        while f"{second.election.identity} became leader" not in messages(first):
            await asyncio.sleep(0.01)
    assert second.election.leader and not first.election.leader


def messages(candidate: Candidate) -> set[str]:
    return {event.message for event in candidate.cluster.snapshot.all(Event).values()}


async def test_who_ends_in_order_gives_the_lease_back(three: list[Candidate]) -> None:
    first = await leader(three)
    await first.end()
    assert first.lease.spec.holderIdentity == "" and not first.election.leader
    second = await leader([one for one in three if one is not first])
    assert second.lease.spec.leaseTransitions == 1


async def test_work_is_done_while_it_leads_and_no_longer(three: list[Candidate]) -> None:
    first, at_work = await leader(three), asyncio.Event()

    async def work() -> None:
        at_work.set()
        try:
            await asyncio.Event().wait()
        finally:
            at_work.clear()

    doing = asyncio.create_task(first.election.during(work))
    await at_work.wait()
    first.line.cut = True
    async with asyncio.timeout(60):
        while at_work.is_set():
            await asyncio.sleep(0.01)
    assert not first.election.leader
    doing.cancel()


def test_each_controller_is_one_components() -> None:
    parts = (components.DAEMON, components.SCHEDULER, components.MANAGER)
    for name in CONTROLLERS:
        assert components.runs(components.ALL, name)
        assert sum(components.runs(part, name) for part in parts) == (name != "leader-election"), name
    assert components.runs(components.SCHEDULER, "default-scheduler")
    assert components.runs(components.MANAGER, "deployment-controller")
    assert components.runs(components.DAEMON, "kubelet")


def test_a_store_that_nobody_serves_is_told(capfd: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    files = [part for name in ("ca", "cert", "key") for part in (f"--{name}", str(tmp_path / "none"))]
    assert main([NAME, "--store", "https://127.0.0.1:1", *files]) == 2
    assert "none: No such file or directory" in capfd.readouterr().err
