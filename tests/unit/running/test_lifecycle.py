"""Which of a node's pods are looked at again, and what is written of them, while others of them are being run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from face import Face, face_of
from msgspec.structs import replace

from k8snetlab.api.config import ConfigMap
from k8snetlab.api.core import ContainerStatus, Pod
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.workload import PodState, PodWork
from k8snetlab.running import lifecycle
from k8snetlab.running.accounts import Accounts
from k8snetlab.running.doors import Doors
from k8snetlab.running.lifecycle import PodLifecycle
from k8snetlab.running.works import Works
from k8snetlab.state.paths import LabPaths
from k8snetlab.store.keys import Keys
from k8snetlab.supervision import Supervisor

NODE = "node1"
Test = Callable[["Living"], Coroutine[Any, Any, None]]


class Kubelet:
    """Runs pods once it `may`; `asked` is set when it is to."""

    def __init__(self) -> None:
        self.states: dict[str, PodState] = {}
        self.health_namespaces = frozenset[str]()
        self.asked, self.may = asyncio.Event(), asyncio.Event()
        self.may.set()

    async def request(
        self, op: str, pods: Iterable[PodWork] = (), uids: Iterable[str] = (), **_: object
    ) -> tuple[PodState, ...]:
        self.asked.set()
        await self.may.wait()
        for uid in uids:
            self.states.pop(uid, None)
        states = tuple(state(work.uid, ready=False) for work in pods)
        self.states.update({one.uid: one for one in states})
        return states


def state(uid: str, ready: bool) -> PodState:
    return PodState(uid, (ContainerStatus(name="c", ready=ready),))


class Living:
    """The pods of one node, whose agent has synced all there is."""

    def __init__(self, face: Face, supervisor: Supervisor) -> None:
        self.cluster, self.kubelet, paths = face.cluster, Kubelet(), LabPaths("l")
        kubelet: Any = self.kubelet
        agents: Any = SimpleNamespace(node=self._task, nodes={NODE: None}, tasks=[], power=SimpleNamespace(off={}))
        accounts = Accounts(face.cluster, paths, Keys(paths.api_pki))
        works = Works(face.cluster, paths, accounts, Doors(face.cluster, paths, kubelet))
        self.lifecycle = PodLifecycle(face.cluster, agents, kubelet, paths, supervisor, works=works)

    def _task(self, _: str) -> Any:
        return SimpleNamespace(state=SimpleNamespace(sandboxes=self.cluster.snapshot))

    async def pod(self, name: str, **container: Any) -> Pod:
        """One that has its address."""
        spec = {"nodeName": NODE, "containers": [{"name": "c", "image": "x", **container}]}
        made = await self.cluster.create(msgspec.convert({"metadata": {"name": name}, "spec": spec}, Pod))
        return await self.cluster.edit(made, lambda one: replace(one, status=replace(one.status, podIP="10.244.1.9")))

    async def synced(self) -> None:
        """The agent has; returns once all that follows from it is done."""
        self.lifecycle.node_synced(NODE, ())
        await until(lambda: NODE not in self.lifecycle._advancing)

    def runs(self, pod: Pod) -> bool:
        return pod.metadata.uid in self.kubelet.states


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not what():
            await asyncio.sleep(0.005)


@pytest.fixture
def against(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Test], None]:
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path))

    async def run(test: Test) -> None:
        supervisor = Supervisor()
        async with face_of() as face:
            await test(Living(face, supervisor))
            await supervisor.close()

    return lambda test: asyncio.run(run(test))


def test_a_pod_whose_configuration_comes_while_another_is_being_run_is_run_too(against: Callable[[Test], None]) -> None:
    async def test(living: Living) -> None:
        following = asyncio.create_task(living.lifecycle.follow_configuration())
        waits = await living.pod("waits", envFrom=[{"configMapRef": {"name": "late"}}])
        for _ in range(2):  # once more for the status that it has got
            await living.synced()
        living.kubelet.may.clear()
        another = await living.pod("another")
        living.lifecycle.node_synced(NODE, ())
        await living.kubelet.asked.wait()
        await living.cluster.create(ConfigMap(metadata=ObjectMeta(name="late", namespace="default")))
        await asyncio.sleep(0.05)
        living.kubelet.may.set()
        await until(lambda: living.runs(another))
        await until(lambda: living.runs(waits))
        following.cancel()

    against(test)


def test_pods_whose_power_is_cut_while_statuses_are_written_are_run_once_it_is_back(
    against: Callable[[Test], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(living: Living) -> None:
        quiet = await living.pod("quiet")
        for _ in range(2):  # once more for the status that it has got
            await living.synced()
        await living.pod("another")
        write, cut = living.cluster.edit_many, list[str]()

        async def cut_meanwhile(edits: Any) -> list[Exception | None]:
            if not cut:
                cut.append(NODE)
                await living.lifecycle.lost_power(NODE)
            return await write(edits)

        monkeypatch.setattr(living.cluster, "edit_many", cut_meanwhile)
        await living.synced()
        assert cut and not living.runs(quiet)
        await living.synced()
        assert living.runs(quiet)

    against(test)


def test_what_the_kubelet_says_while_statuses_are_written_is_not_overwritten(
    against: Callable[[Test], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "BATCH", 1)

    async def test(living: Living) -> None:
        pods = [await living.pod(name) for name in ("first", "last")]
        ready = state(pods[-1].metadata.uid, ready=True)
        write = living.cluster.edit_many

        async def told_meanwhile(edits: Any) -> list[Exception | None]:
            if edits[0][0].name == "first":
                living.kubelet.states[ready.uid] = ready
                living.lifecycle.states_changed((ready,))
            return await write(edits)

        monkeypatch.setattr(living.cluster, "edit_many", told_meanwhile)
        await living.synced()
        assert [living.cluster.current(Pod, one.name, "default").ready for one in pods] == [False, True]

    against(test)
