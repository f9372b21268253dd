"""A lab at rest is woken by few, and by these at the same moments."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from k8snetlab.api.load import load
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.running import beats
from k8snetlab.running.announcements import Announcements
from k8snetlab.store.embedded import EmbeddedStore
from k8snetlab.store.informer import Informer

LAB = "{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: lab}, spec: {nodes: 1, loadBalancer: {%s}}}"


@pytest.mark.parametrize(
    ("now", "wakes"), [(100.0, 101.0), (100.001, 101.0), (100.5, 101.0), (100.89, 101.0), (100.9999, 102.0)]
)
def test_who_waits_wakes_with_all_others_and_once(monkeypatch: pytest.MonkeyPatch, now: float, wakes: float) -> None:
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: SimpleNamespace(time=lambda: now))
    assert now + beats.until(1.0) == pytest.approx(wakes)


def test_speakers_are_looked_at_where_there_is_a_load_balancer(tmp_path: Path) -> None:
    async def run() -> None:
        store = EmbeddedStore(":memory:")
        informer = Informer(store)
        await informer.start()
        cluster = Cluster(store, informer)
        announcements = Announcements(cluster, tmp_path, lambda: True)
        following = asyncio.create_task(announcements.follow())
        try:
            for mode, looks in (("mode: none", 0), ("mode: l2, pool: [192.168.0.200-192.168.0.220]", 1)):
                await cluster.apply_many(load([("lab.yaml", LAB % mode)]).objects)
                for _ in range(20):
                    await asyncio.sleep(0)
                assert announcements.looks == looks, mode
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await cluster.close()
            await informer.close()
            await store.close()

    asyncio.run(run())
