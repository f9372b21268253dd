"""What is remembered of a set's pods spares work and changes nothing of what is answered."""

from __future__ import annotations

import random

from msgspec.structs import replace

from k8snetlab.api.apps import ReplicaSet
from k8snetlab.api.core import Condition, Pod
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers import Context, ReplicaMemory, replica_sets
from k8snetlab.controllers.replica_memory import Standing
from k8snetlab.testing.fake_cluster import LAB, FakeCluster, deployment

MANY = 1000


def put(snapshot: Snapshot, obj: Object) -> Snapshot:
    return snapshot.changed([(type(obj), obj.key, obj)], snapshot.revision + 1)


def with_ready(pod: Pod, ready: bool) -> Pod:
    others = tuple(c for c in pod.status.conditions if c.type != "Ready")
    return replace(pod, status=replace(pod.status, conditions=(*others, Condition(type="Ready", status=str(ready)))))


def test_one_of_a_thousand_pods_is_looked_at_when_it_changes_and_when_there_is_one_more() -> None:
    lab = (LAB % 10 + deployment("web", MANY)).replace("{nodes: 10}", "{nodes: 10, maxPods: 200}")
    now, memory = FakeCluster(lab).settle().snapshot, ReplicaMemory()
    context = Context(replicas=memory)
    assert not [*replica_sets.reconcile(now, None, context)]
    assert memory.made == MANY
    later = put(now, with_ready(next(iter(now.all(Pod).values())), True))
    ((_, _, changed),) = replica_sets.reconcile(later, now, context)  # type: ignore[misc]
    assert isinstance(changed, ReplicaSet)
    assert (changed.status.readyReplicas, changed.status.replicas, memory.made) == (1, MANY, MANY + 1)
    more = put(later, replace(changed, spec=replace(changed.spec, replicas=MANY + 1)))
    answers = [one for one in replica_sets.reconcile(more, later, context) if isinstance(one, tuple)]
    assert [type_ for type_, *_ in answers] == [Pod, ReplicaSet]
    stored = more.changed(answers, 10)
    assert not [*replica_sets.reconcile(stored, more, context)]
    assert memory.made == MANY + 2


def test_memory_answers_as_a_fresh_look_whatever_changes() -> None:
    chance, memory = random.Random(11), ReplicaMemory()
    now = FakeCluster(LAB % 3 + deployment("web", 6) + deployment("api", 3)).run().snapshot
    before: Snapshot | None = None
    for _ in range(400):
        remembered = list(replica_sets.reconcile(now, before, Context(replicas=memory)))
        assert remembered == list(replica_sets.reconcile(now, before))
        stored = now.changed([change for change in remembered if isinstance(change, tuple)], now.revision + 1)
        before, now = now, _another(stored, chance)


def _another(now: Snapshot, chance: random.Random) -> Snapshot:
    pod = chance.choice(list(now.all(Pod).values()))
    rs = chance.choice(list(now.all(ReplicaSet).values()))
    match chance.randrange(6):
        case 0:
            return put(now, with_ready(pod, not pod.ready))
        case 1:
            going = None if pod.metadata.deletionTimestamp else "2026-01-01T00:00:00Z"
            return put(now, replace(pod, metadata=replace(pod.metadata, deletionTimestamp=going)))
        case 2:
            labels = {**pod.metadata.labels, "app": chance.choice(["web", "api", "none"])}
            return put(now, replace(pod, metadata=replace(pod.metadata, labels=labels)))
        case 3:
            phase, reason = chance.choice([("Running", ""), ("Failed", ""), ("Failed", "OutOfpods")])
            return put(now, replace(pod, status=replace(pod.status, phase=phase, reason=reason)))
        case 4:
            return put(now, replace(rs, spec=replace(rs.spec, minReadySeconds=chance.choice([0, 0, 5]))))
        case _:
            return put(now, replace(rs, spec=replace(rs.spec, replicas=chance.randrange(2, 9))))


def test_what_is_known_of_one_set_is_not_counted_for_another() -> None:
    pods = FakeCluster(LAB % 1 + deployment("web", 5)).run().snapshot.all(Pod)
    standing = Standing(active=True, kept=False, fits=True, ready=True, labelled=True)
    for memory in (ReplicaMemory(), ReplicaMemory()):
        for name in ("web", "api"):
            assert memory.tally(name, "rule", pods, lambda _: standing) == {standing: 5}
