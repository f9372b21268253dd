"""Daemons that write to one store at once, each by a Snapshot that the others' writes have not reached, give no address
and no node port twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from face import service
from msgspec.structs import replace

from k8snetlab.api.body import decode
from k8snetlab.api.core import NODE_PORTS, Service
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import K8sNetLabError, ManifestError
from k8snetlab.store.informer import FENCE, Informer
from k8snetlab.store.protocol import Store

pytestmark = pytest.mark.anyio


class Slow:
    """A store whose watch is late."""

    def __init__(self, store: Store, seconds: float) -> None:
        self._store, self._seconds = store, seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def watch(self, prefix: str, revision: int) -> AsyncIterator[Any]:
        async for events in self._store.watch(prefix, revision):
            await asyncio.sleep(self._seconds)
            yield events


@asynccontextmanager
async def daemons(store: Store, count: int, late: float = 0.05) -> AsyncIterator[list[Cluster]]:
    lab = Lab(metadata=ObjectMeta(name="l"))
    lab = replace(lab, spec=replace(lab.spec, serviceCIDR="10.96.0.0/25"))
    slow: Any = Slow(store, late)
    informers = [Informer(slow) for _ in range(count)]
    for informer in informers:
        await informer.start()
    clusters = [Cluster(Slow(store, 0), informer, shared=True) for informer in informers]  # type: ignore[arg-type]
    await clusters[0].apply(lab)
    for informer in informers:
        await informer.reached(int(clusters[0].snapshot.lab.metadata.resourceVersion))
    try:
        yield clusters
    finally:
        for cluster, informer in zip(clusters, informers, strict=True):
            await cluster.close()
            await informer.close()


def asked(name: str, **spec: Any) -> Service:
    obj = decode(service(name, **spec))
    assert isinstance(obj, Service)
    return obj


async def taken(store: Store) -> tuple[Counter[str], Counter[int]]:
    """How often each address and node port is given, as the store has it."""
    informer = Informer(store)
    await informer.start()
    found = list(informer.snapshot.all(Service).values())
    await informer.close()
    ports = Counter(port.nodePort for one in found for port in one.spec.ports if port.nodePort)
    return Counter(ip for one in found for ip in one.spec.clusterIPs), ports


def only_once(counts: tuple[Counter[str], Counter[int]], ips: int, ports: int) -> bool:
    return all(set(one.values()) <= {1} for one in counts) and (len(counts[0]), len(counts[1])) == (ips, ports)


async def test_two_daemons_at_once_give_no_address_twice(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("k8snetlab.controllers.allocation.NODE_PORTS", range(NODE_PORTS.start, NODE_PORTS.start + 90))
    async with daemons(store, 2) as clusters:
        names = [f"s{number}" for number in range(60)]
        await asyncio.gather(
            *(clusters[number % 2].create(asked(name, type="NodePort")) for number, name in enumerate(names))
        )
    assert only_once(await taken(store), 60, 60)


async def test_many_services_applied_at_once_share_nothing(store: Store) -> None:
    async with daemons(store, 3) as clusters:
        made = [[asked(f"{letter}{number}") for number in range(30)] for letter in "abc"]
        outcomes = await asyncio.gather(
            *(cluster.apply_many(objects) for cluster, objects in zip(clusters, made, strict=True))
        )
        assert outcomes == [["created"] * 30] * 3
    assert only_once(await taken(store), 90, 0)


async def test_of_those_who_ask_for_one_address_one_gets_it(store: Store) -> None:
    async with daemons(store, 3) as clusters:
        for turn in range(3):
            wanted = [asked(f"s{turn}-{number}", clusterIP=f"10.96.0.{100 + turn}") for number in range(3)]
            results = await asyncio.gather(
                *(cluster.create(one) for cluster, one in zip(clusters, wanted, strict=True)), return_exceptions=True
            )
            refused = [one for one in results if isinstance(one, ManifestError)]
            assert len(refused) == 2, results
            assert all("already allocated" in one.message for one in refused)
    assert only_once(await taken(store), 3, 0)


async def test_a_node_port_that_a_change_takes_is_given_once(store: Store) -> None:
    async with daemons(store, 2) as clusters:
        for number in range(2):
            await clusters[0].create(asked(f"s{number}", type="NodePort"))
        await clusters[1].reached(clusters[0].informer.written, 10)

        def taking(stored: Service) -> Service:
            (port,) = stored.spec.ports
            return replace(stored, spec=replace(stored.spec, ports=(replace(port, nodePort=30500),)))

        edits = [c.edit(c.current(Service, f"s{number}", "default"), taking) for number, c in enumerate(clusters)]
        results = await asyncio.gather(*edits, return_exceptions=True)
        assert sorted(isinstance(one, K8sNetLabError) for one in results) == [False, True]
    assert (await taken(store))[1][30500] == 1


async def test_a_daemon_that_stood_still_while_it_chose_chooses_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has looked and chosen, and writes only once the other has given the same address and is done."""
    async with daemons(store, 2) as (still, other):
        first_choice = still.tried(asked("twin")).spec.clusterIP
        free = asyncio.Event()
        together = still._store.write_together

        async def halted(writes: Any) -> Any:
            await free.wait()
            return await together(writes)

        monkeypatch.setattr(still._store, "write_together", halted)
        first = asyncio.create_task(still.create(asked("twin")))
        await asyncio.sleep(0)
        chosen = await other.create(asked("other", clusterIP=first_choice))
        free.set()
        made = await first
        assert made.spec.clusterIP != chosen.spec.clusterIP == first_choice
    assert only_once(await taken(store), 2, 0)


async def test_what_gives_nothing_leaves_the_fence_alone(store: Store) -> None:
    async with daemons(store, 1) as (one,):
        made = await one.create(asked("s"))
        before = await store.get(FENCE)
        await one.edit(made, lambda stored: replace(stored, metadata=replace(stored.metadata, labels={"a": "b"})))
        await one.create(asked("headless", clusterIP="None"))
        await one.delete(one.current(Service, "s", "default"))
        after = await store.get(FENCE)
        assert before and after and after.mod_revision == one.informer.fence
        moved = int(after.value.split()[1]) - int(before.value.split()[1])
        assert moved == 1, "a new Service is written with the fence, whatever it takes"
