"""Events: what the same again becomes, how many may come, and that nobody is woken by them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from k8snetlab.api.core import Container, Pod, PodSpec
from k8snetlab.api.decoding import decode
from k8snetlab.api.events import Event, by_object
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.scheme import BY_KIND, encode, to_dict
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.versions import Objects
from k8snetlab.cli import views
from k8snetlab.cluster import events as recording
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.controllers.correlation import COMBINED, Note, correlated
from k8snetlab.lab.operations import standing
from k8snetlab.store.embedded import EmbeddedStore
from k8snetlab.store.informer import Informer

POD = Pod(
    metadata=ObjectMeta(name="client", namespace="default", uid="u1"),
    spec=PodSpec(containers=(Container(name="c", image="a"),)),
)
MINUTE = ("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", "2026-01-01T00:30:00Z")


def note(message: str, reason: str = "Failed") -> Note:
    return Note(POD, "Warning", reason, message, "kubelet", "node1", "spec.containers{c}")


def test_same_again_counts() -> None:
    first = correlated(note("no"), [], MINUTE[0], 1)
    assert (first.name, first.count, first.namespace) == ("client.1", 1, "default")
    assert first.involvedObject.kind == "Pod" and first.involvedObject.uid == "u1"
    second = correlated(note("no"), [first], MINUTE[1], 2, times=3)
    assert (second.name, second.count) == ("client.1", 4)
    assert (second.firstTimestamp, second.lastTimestamp) == MINUTE[:2]
    assert correlated(note("other"), [second], MINUTE[1], 3).name == "client.3"
    assert correlated(note("no", "Other"), [second], MINUTE[1], 4).name == "client.4"


def test_stored_form_is_kubernetes() -> None:
    event = correlated(note("no"), [], MINUTE[0], 255)
    stored = encode(event)
    assert b'"source":{"component":"kubelet","host":"node1"}' in stored
    assert decode(Event, stored) == event
    assert BY_KIND["Event"].key("default", event.name) == "/registry/events/default/client.ff"


def test_many_alike_become_one() -> None:
    known: list[Event] = []
    for number in range(12):
        event = correlated(note(f"try {number}"), known, MINUTE[1], number)
        known = [*(e for e in known if e.name != event.name), event]
    assert len(known) == 10
    assert (known[-1].message, known[-1].count) == (COMBINED + "try 11", 3)
    assert correlated(note("later"), known, MINUTE[2], 99).message == "later"


def test_events_change_no_objects() -> None:
    base = Snapshot.of([POD])
    event = correlated(note("no"), [], MINUTE[0], 1)
    after = base.changed([(Event, event.key, event)], 2)
    assert after.objects is base.objects
    assert list(after.changes(Event, base)) == [event.key] and not after.changes(Pod, base)
    assert after.get(Event, event.name, "default") == event
    assert list(after.select(Event, by_object, ("Pod", "default", "client")).values()) == [event]


def test_table_is_kubectls_and_sorted_by_last_seen() -> None:
    old, new = correlated(note("old"), [], MINUTE[0], 1), correlated(note("new\nline"), [], MINUTE[1], 2)
    text = views.objects(BY_KIND["Event"], [to_dict(new), to_dict(old)])
    lines = [line.split() for line in text.splitlines()]
    assert lines[0] == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert [line[1:] for line in lines[1:]] == [
        ["Warning", "Failed", "pod/client", "old"],
        ["Warning", "Failed", "pod/client", "new", "line"],
    ]


def in_cluster(test: Callable[[Cluster], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        store = EmbeddedStore(":memory:")
        informer = Informer(store)
        await informer.start()
        cluster = Cluster(store, informer)
        await test(cluster)
        await cluster.close()
        await informer.close()
        await store.close()

    asyncio.run(run())


def test_recorded_without_waking_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "PAUSE", 0)

    async def test(cluster: Cluster) -> None:
        pod = await cluster.create(POD)
        before = cluster.snapshot
        written = cluster.informer.written
        for _ in range(2):
            cluster.record(pod, "Warning", "Failed", "no", component="kubelet", host="node1")
        async for snapshot in cluster.changes(reports=True):
            if snapshot.all(Event):
                break
        (event,) = cluster.snapshot.all(Event).values()
        assert (event.count, event.metadata.namespace) == (2, "default")
        assert cluster.snapshot.objects is before.objects
        assert cluster.informer.written == written

    in_cluster(test)


def test_flood_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "LIMIT", 60)

    async def test(cluster: Cluster) -> None:
        for number in range(100):
            cluster.record(POD, "Warning", "Failed", f"try {number}", component="kubelet")
        await cluster.close()
        one = list(cluster.snapshot.all(Event).values())
        assert sum(e.count for e in one) == recording.BURST
        for number in range(500):
            pod = Pod(metadata=ObjectMeta(name=f"p{number}", namespace="default"))
            cluster.record(pod, "Warning", "Failed", "no", component="kubelet")
            if number % 20 == 0:
                await cluster.close()
        await cluster.close()
        assert len(cluster.snapshot.all(Event)) == 60
        assert cluster.snapshot.get(Event, one[0].name, "default") is None
        assert any(e.involvedObject.name == "p499" for e in cluster.snapshot.all(Event).values())

    in_cluster(test)


def test_a_batch_of_notes_is_one_change_of_the_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    copies: list[int] = []
    changed = Objects.changed

    def counted(self: Objects[Any], changes: Any) -> Objects[Any]:
        copies.append(len(self))
        return changed(self, changes)

    async def test(cluster: Cluster) -> None:
        for number in range(150):
            pod = Pod(metadata=ObjectMeta(name=f"p{number % 50}", namespace="default", uid=f"u{number % 50}"))
            cluster.record(pod, "Warning", "Failed", f"no {number % 100}", component="kubelet")
        monkeypatch.setattr(Objects, "changed", counted)
        await cluster.close()
        told = list(cluster.snapshot.all(Event).values())
        assert (len(told), sum(event.count for event in told)) == (100, 150)
        assert len(copies) == 1

    in_cluster(test)


def test_old_events_of_others_go() -> None:
    async def test(cluster: Cluster) -> None:
        old = correlated(note("old"), [], MINUTE[0], 1)
        await cluster.create(old)
        cluster.record(POD, "Normal", "Started", "yes", component="kubelet")
        await cluster.close()
        assert [event.reason for event in cluster.snapshot.all(Event).values()] == ["Started"]

    in_cluster(test)


def test_a_store_that_fails_harms_nobody() -> None:
    async def test(cluster: Cluster) -> None:
        async def fail(_: int) -> int:
            raise OSError("gone")

        cluster._events._store.grant = fail  # type: ignore[method-assign]
        cluster.record(POD, "Normal", "Started", "yes", component="kubelet")
        await cluster.close()
        assert not cluster.snapshot.all(Event)

    in_cluster(test)


@pytest.mark.parametrize(
    ("told", "known", "same"),
    [
        (
            "pod default/x: BackOff: Back-off restarting failed container c",
            "pod default/x: CrashLoopBackOff: gone",
            True,
        ),
        ("pod default/x: FailedScheduling: 0/2 nodes", "pod default/x: 0/2 nodes", True),
        ("pod default/x: FailedCreatePodSandBox: Failed to create", "pod default/x: OOMKilled: gone", False),
        ("pod default/x: BackOff: Back-off restarting failed container c", "pod default/xy: Error: gone", False),
    ],
)
def test_an_event_that_only_repeats_a_problem(told: str, known: str, same: bool) -> None:
    assert standing._repeats(told, known) is same
