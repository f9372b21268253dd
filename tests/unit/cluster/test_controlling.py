"""The controllers' loop: what fails stays one object's, is said there, and is tried again; all else goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.coordination import Lease
from k8snetlab.api.core import Node, Pod, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.events import Event
from k8snetlab.api.load import load
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster import controlling, events
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.controllers import EndpointMemory, endpoint_slices, reconcile
from k8snetlab.dataplane.holds import Hold
from k8snetlab.running.followed import Followed
from k8snetlab.store.embedded import EmbeddedStore
from k8snetlab.store.informer import Informer
from k8snetlab.testing.fake_cluster import LAB, deployment, service

PINNED = deployment("pinned", 2).replace("spec: {containers", "spec: {nodeName: node2, containers")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PAUSE", 0)


def in_cluster(test: Callable[[Cluster], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        store = EmbeddedStore(":memory:")
        informer = Informer(store)
        await informer.start()
        cluster = Cluster(store, informer)
        loop = asyncio.create_task(cluster.run_controllers())
        try:
            async with asyncio.timeout(60):
                await test(cluster)
        finally:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)
            await cluster.close()
            await informer.close()
            await store.close()

    asyncio.run(run())


async def apply(cluster: Cluster, manifests: str) -> Snapshot:
    await cluster.apply_many(load([("f.yaml", manifests)]).objects)
    return await cluster.settled()


async def until(cluster: Cluster, condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def replica_set(cluster: Cluster, prefix: str) -> ReplicaSet:
    return next(rs for rs in cluster.snapshot.all(ReplicaSet).values() if rs.name.startswith(prefix))


def test_a_controller_that_hangs_looks_at_nothing_and_then_at_everything() -> None:
    async def test(cluster: Cluster) -> None:
        await apply(cluster, LAB % 2 + deployment("web", 2) + service("web"))
        assert len(cluster.snapshot.all(EndpointSlice)) == 1
        cluster.hold(frozenset({Hold("", "controller", "endpoint-slice-controller")}))
        assert cluster.behind == {}, "nothing has changed since"
        await apply(cluster, deployment("api", 1) + service("api"))
        assert len(cluster.snapshot.all(Pod)) == 3, "the others go on"
        assert len(cluster.snapshot.all(EndpointSlice)) == 1
        assert [*cluster.behind] == ["endpoint-slice-controller"]
        cluster.hold(frozenset())
        assert len((await cluster.settled()).all(EndpointSlice)) == 2
        assert cluster.behind == {}

    in_cluster(test)


def test_a_refused_pod_is_its_replica_sets_alone() -> None:
    async def test(cluster: Cluster) -> None:
        await apply(cluster, LAB % 2 + PINNED)
        assert len(cluster.snapshot.all(Pod)) == 2
        await apply(cluster, LAB % 1)
        for pod in cluster.snapshot.all(Pod).values():
            await cluster.delete(pod, force=True)
        await apply(cluster, deployment("web", 2) + service("web"))
        await until(cluster, lambda: bool(replica_set(cluster, "pinned").status.conditions))
        assert [pod.name[:3] for pod in (await cluster.settled()).all(Pod).values()] == ["web", "web"]
        assert len(cluster.snapshot.all(EndpointSlice)) == 1
        status = replica_set(cluster, "pinned").status
        assert status.replicas == 0
        (condition,) = status.conditions
        assert (condition.type, condition.status, condition.reason) == ("ReplicaFailure", "True", "FailedCreate")
        assert 'there is no node "node2"' in condition.message
        stuck = cluster.current(Deployment, "pinned", "default")
        await until(
            cluster,
            lambda: (
                "ReplicaFailure" in {c.type for c in cluster.current(Deployment, "pinned", "default").status.conditions}
            ),
        )
        assert stuck.spec.replicas == 2
        (failing,) = cluster.failing
        assert (failing.controller, failing.kind, failing.name) == (
            "replicaset-controller",
            "ReplicaSet",
            replica_set(cluster, "pinned").name,
        )
        followed = Followed([stuck])
        followed.look(cluster.snapshot)
        assert followed.short(cluster.snapshot) == []
        (why,) = followed.refused(cluster.snapshot)
        assert why.startswith("deployment default/pinned: ") and 'there is no node "node2"' in why
        assert Followed([cluster.current(Deployment, "web", "default")]).refused(cluster.snapshot) == []
        before = failing.tries
        await until(cluster, lambda: cluster.failing[0].tries > before)
        await until(cluster, lambda: any(e.reason == "FailedCreate" for e in cluster.snapshot.all(Event).values()))
        event = next(e for e in cluster.snapshot.all(Event).values() if e.reason == "FailedCreate")
        assert (event.type, event.origin.component) == ("Warning", "replicaset-controller")
        assert event.message.startswith("Error creating: ")

        await apply(cluster, LAB % 2)
        await until(cluster, lambda: not cluster.failing)
        await until(cluster, lambda: replica_set(cluster, "pinned").status.replicas == 2)
        assert not replica_set(cluster, "pinned").status.conditions
        kinds = {c.type for c in (await cluster.settled()).all(Deployment)["default", "pinned"].status.conditions}
        assert kinds == {"Available", "Progressing"}

    in_cluster(test)


def test_pods_of_a_node_that_goes() -> None:
    async def test(cluster: Cluster) -> None:
        await apply(cluster, LAB % 2 + PINNED)
        await apply(cluster, LAB % 1)
        await until(cluster, lambda: bool(cluster.failing))
        assert not (await cluster.settled()).all(Pod)
        assert replica_set(cluster, "pinned").status.replicas == 0

    in_cluster(test)


def test_a_replica_set_that_cannot_be_made() -> None:
    async def test(cluster: Cluster) -> None:
        name = "a" * 250

        def long() -> Deployment:
            return cluster.current(Deployment, name, "default")

        await apply(cluster, LAB % 1 + deployment("web", 1) + deployment(name, 3).replace(f"app: {name}", "app: long"))
        await until(cluster, lambda: any(c.reason == "ReplicaSetCreateError" for c in long().status.conditions))
        said = {c.type: (c.status, c.reason) for c in long().status.conditions}
        assert said["Progressing"] == ("False", "ReplicaSetCreateError")
        assert said["Available"] == ("False", "MinimumReplicasUnavailable")
        assert long().status.replicas == 0
        assert [pod.name[:3] for pod in (await cluster.settled()).all(Pod).values()] == ["web"]
        assert len(Followed([long()]).refused(cluster.snapshot)) == 1
        (failing,) = cluster.failing
        assert (failing.controller, failing.kind, failing.name) == ("deployment-controller", "Deployment", name)
        await until(
            cluster, lambda: "ReplicaSetCreateError" in {e.reason for e in cluster.snapshot.all(Event).values()}
        )
        assert not [e for e in cluster.snapshot.all(Event).values() if e.involvedObject.name.startswith(name + "-")]

    in_cluster(test)


def test_tries_write_nothing() -> None:
    async def test(cluster: Cluster) -> None:
        await apply(cluster, LAB % 2 + PINNED)
        await apply(cluster, LAB % 1)
        for pod in cluster.snapshot.all(Pod).values():
            await cluster.delete(pod, force=True)
        await until(cluster, lambda: bool(cluster.failing) and cluster.failing[0].tries > 3)
        before = await cluster.settled()
        tries = cluster.failing[0].tries
        await until(cluster, lambda: cluster.failing[0].tries > tries)
        assert cluster.snapshot.objects is before.objects

    in_cluster(test)


def test_what_fails_is_told_to_another_thread_while_the_loop_goes_on_and_ends() -> None:
    async def test(cluster: Cluster) -> None:
        door: Any = cluster
        loop: Any = controlling.ControllerLoop(door)

        class Held:
            """One that is asked in the moment in which all is well again."""

            @property
            def failing(self) -> str:
                loop._held.clear()
                return "a failure"

        loop._held.update({number: Held() for number in range(2)})
        assert loop.failing == ("a failure",) * 2

        class Ending:
            """One that ends in the moment in which it is seen to be there."""

            failing, behind = (), dict[str, float]()

            def __bool__(self) -> bool:
                door._controllers = None
                return True

        runs = door._controllers
        for told in (lambda: cluster.failing, lambda: cluster.behind):
            door._controllers = Ending()
            assert not told()
        door._controllers = runs

    in_cluster(test)


def test_a_failure_ends_with_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(cluster: Cluster) -> None:
        await apply(cluster, LAB % 2 + PINNED)
        await apply(cluster, LAB % 1)
        for pod in cluster.snapshot.all(Pod).values():
            await cluster.delete(pod, force=True)
        await until(cluster, lambda: bool(cluster.failing))
        await cluster.delete(cluster.current(Deployment, "pinned", "default"))
        await until(cluster, lambda: not cluster.failing)
        assert not (await cluster.settled()).all(ReplicaSet)

    in_cluster(test)


def test_a_controllers_bug_concerns_one_object(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [True]
    sync = endpoint_slices.sync

    def faulty(service: Service, now: Snapshot, memory: EndpointMemory | None = None) -> Iterator[Any]:
        if broken[0] and service.name == "bad":
            raise KeyError("oops")
        return sync(service, now, memory)

    monkeypatch.setattr(endpoint_slices, "sync", faulty)
    monkeypatch.setattr(controlling, "LONGEST", 0.05)

    async def test(cluster: Cluster) -> None:
        text = deployment("web", 1) + deployment("bad", 1) + service("bad") + service("web")
        await apply(cluster, LAB % 1 + text)
        assert {
            s.metadata.labels["kubernetes.io/service-name"] for s in cluster.snapshot.all(EndpointSlice).values()
        } == {"web"}
        (failing,) = cluster.failing
        assert (failing.controller, failing.kind, failing.name) == ("endpoint-slice-controller", "Service", "bad")
        assert "KeyError" in failing.message
        broken[0] = False
        await until(cluster, lambda: not cluster.failing)
        assert len((await cluster.settled()).all(EndpointSlice)) == 2

    in_cluster(test)


def test_a_controller_that_fails_as_a_whole_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    from k8snetlab.controllers.reconcile import CONTROLLERS

    def fail(*_: object) -> Iterator[Any]:
        raise RuntimeError("oops")

    monkeypatch.setitem(CONTROLLERS, "default-scheduler", fail)

    async def test(cluster: Cluster) -> None:
        await apply(cluster, LAB % 1 + deployment("web", 1))
        (pod,) = cluster.snapshot.all(Pod).values()
        assert not pod.spec.nodeName and cluster.snapshot.all(Node)
        (failing,) = cluster.failing
        assert (
            str(failing).startswith("default-scheduler: RuntimeError: oops (a bug) (tried ") and not failing.concerned
        )
        monkeypatch.undo()
        await until(cluster, lambda: not cluster.failing)
        (pod,) = (await cluster.settled()).all(Pod).values()
        assert pod.spec.nodeName == "node1"

    in_cluster(test)


def test_reads_are_answered_while_many_pods_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    thinking: list[tuple[bool, bool]] = []

    def work_out(snapshot: Snapshot, *arguments: Any) -> Any:
        elsewhere = threading.current_thread() is not threading.main_thread()
        thinking.append((len(snapshot.all(Pod)) >= controlling.MANY, elsewhere))
        return original(snapshot, *arguments)

    original = controlling.work_out
    monkeypatch.setattr(controlling, "work_out", work_out)

    async def test(cluster: Cluster) -> None:
        await cluster.apply_many(load([("f.yaml", LAB % 2 + deployment("web", 1500))]).objects)
        seen: set[int] = set()
        while len(cluster.snapshot.all(Pod)) < 1500:
            seen.add(len(cluster.snapshot.all(Pod)))
            await asyncio.sleep(0)
        assert len(seen) > 3
        snapshot = await cluster.settled()
        pods = list(snapshot.all(Pod).values())
        assert sum(bool(pod.ips) for pod in pods) == 220
        (why,) = {pod.status.message for pod in pods if not pod.ips}
        assert why.startswith("0/2 nodes are available: 2 Too many pods. no new claims to deallocate, preemption: ")
        assert replica_set(cluster, "web").status.replicas == 1500
        assert reconcile(snapshot, None) == []
        assert {many for many, _ in thinking} == {True, False} and all(many is away for many, away in thinking)

    in_cluster(test)


def test_nothing_is_refused_to_the_controllers_of_a_new_lab(caplog: pytest.LogCaptureFixture) -> None:
    async def test(cluster: Cluster) -> None:
        snapshot = await apply(cluster, LAB % 2 + deployment("web", 2) + service("web"))
        assert {name for _, name in snapshot.all(Lease)} == {
            "node1",
            "node2",
            "kube-scheduler",
            "kube-controller-manager",
        }
        assert not cluster.failing and not caplog.messages

    in_cluster(test)
