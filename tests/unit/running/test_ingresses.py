"""When nginx is said to serve by what the objects ask for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from k8snetlab.api.core import ContainerStatus, Pod
from k8snetlab.api.networking import Ingress
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.workload import PodState
from k8snetlab.render.ingress import addon
from k8snetlab.render.ingress.model import Site
from k8snetlab.running.ingress_refusals import Written
from k8snetlab.running.ingresses import Ingresses
from k8snetlab.running.taking import Taken
from k8snetlab.state.paths import LabPaths
from k8snetlab.testing.services import lab

METADATA = {"name": "c", "namespace": "default", "uid": "c"}
CONTROLLER = msgspec.convert({"metadata": METADATA, "spec": {"containers": [{"name": "c", "image": addon.IMAGE}]}}, Pod)
INGRESS = msgspec.convert({"metadata": METADATA, "spec": {}}, Ingress)
RUNS = msgspec.convert({"name": "c", "state": {"running": {}}}, ContainerStatus)


class Served(Ingresses):
    """An nginx that takes whatever it is given."""

    def __init__(self, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        kubelet: Any = SimpleNamespace(states={"c": PodState("c", (RUNS,))})
        super().__init__(cluster, LabPaths("l"), kubelet)
        monkeypatch.setattr(self._taking, "take", self._take)

    async def _take(self, pod: Pod, _: Snapshot, written: tuple[object, str], tried: bool = False) -> str:
        self._taking.taken[pod.metadata.uid] = Taken(written[1])
        return ""

    def wanted(self, snapshot: Snapshot) -> Written:
        return Written(Site(), (), {}, str(len(snapshot.all(Ingress))))


def test_an_ingress_is_not_in_use_before_the_turn_that_it_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the store has not told of it yet, as an etcd in another process does a moment later."""
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path))

    async def run() -> None:
        before = Snapshot.of([lab(), CONTROLLER]).changed([], 7)
        written = before.changed([(Ingress, INGRESS.key, INGRESS)], 7)
        cluster = SimpleNamespace(snapshot=before)
        served = Served(cluster, monkeypatch)
        await served._turn(before)
        assert served.behind(before) == []
        cluster.snapshot = written
        assert served.behind(written)
        await served._turn(written)
        assert served.behind(written) == served.behind(before) == []
        cluster.snapshot = told = written.changed([(Ingress, INGRESS.key, None)], 9)
        assert served.behind(told)
        await served._turn(told)
        assert [served.behind(one) for one in (before, written, told)] == [[], [], []]

    asyncio.run(run())
