"""What is remembered of endpoints spares work and changes nothing of what is answered."""

from __future__ import annotations

import random

from msgspec.structs import replace

from k8snetlab.api.core import Condition, Node, Pod, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers import Context, EndpointMemory
from k8snetlab.controllers import endpoints as controller
from k8snetlab.controllers.endpoint_slices import ZONE
from k8snetlab.testing.fake_cluster import LAB, FakeCluster, deployment, service

MANY = 1000


def with_ready(pod: Pod, ready: bool) -> Pod:
    others = tuple(c for c in pod.status.conditions if c.type != "Ready")
    return replace(
        pod, status=replace(pod.status, conditions=(*others, Condition(type="Ready", status=str(ready)))), spec=pod.spec
    )


def put(snapshot: Snapshot, obj: Object) -> Snapshot:
    return snapshot.changed([(type(obj), obj.key, obj)], snapshot.revision + 1)


def test_one_of_a_thousand_endpoints_is_worked_out_when_it_changes() -> None:
    lab = LAB % 10 + deployment("web", MANY) + service("web")
    cluster = FakeCluster(lab.replace("spec: {nodes: 10}", "spec: {nodes: 10, maxPods: 200}")).settle()
    now, memory = cluster.snapshot, EndpointMemory()
    assert not [*controller.reconcile(now, None, Context(memory=memory))]
    assert memory.made == MANY
    pod = now.all(Pod)[next(iter(now.all(Pod)))]
    later = put(now, with_ready(pod, True))
    changes = [
        change for change in controller.reconcile(later, now, Context(memory=memory)) if isinstance(change, tuple)
    ]
    assert memory.made == MANY + 1
    (changed,) = [obj for type_, _, obj in changes if type_ is EndpointSlice]
    assert isinstance(changed, EndpointSlice)
    assert [e.addresses[0] for e in changed.endpoints if e.conditions.ready] == [pod.ips[0]]
    stored = later.changed(changes, 10)
    assert not [*controller.reconcile(stored, later, Context(memory=memory))], "its slices are as they should be"
    assert memory.made == MANY + 1
    assert memory.looks == 2, "and that is seen without a look at its endpoints"
    strange = replace(changed, endpoints=changed.endpoints[1:])
    (mended,) = controller.reconcile(put(stored, strange), stored, Context(memory=memory))
    assert isinstance(mended, tuple) and isinstance(mended[2], EndpointSlice)
    assert {e.addresses for e in mended[2].endpoints} == {e.addresses for e in changed.endpoints}


def test_memory_answers_as_a_fresh_look_whatever_changes() -> None:
    lab = LAB % 3 + deployment("web", 6) + service("web") + service("named", ports="[{port: 1, targetPort: http}]")
    chance, memory = random.Random(7), EndpointMemory()
    now = FakeCluster(lab + deployment("api", 3) + service("api", "publishNotReadyAddresses: true")).run().snapshot
    before: Snapshot | None = None
    for _ in range(300):
        remembered = list(controller.reconcile(now, before, Context(memory=memory)))
        assert remembered == list(controller.reconcile(now, before))
        stored = now.changed([change for change in remembered if isinstance(change, tuple)], now.revision + 1)
        before, now = now, _another(stored, chance)


def _another(now: Snapshot, chance: random.Random) -> Snapshot:
    pod = chance.choice(list(now.all(Pod).values()))
    match chance.randrange(6):
        case 0:
            return put(now, with_ready(pod, not pod.ready))
        case 1:
            going = None if pod.metadata.deletionTimestamp else "2026-01-01T00:00:00Z"
            return put(now, replace(pod, metadata=replace(pod.metadata, deletionTimestamp=going)))
        case 2:
            labels = {"app": chance.choice(["web", "api", "named", "none"])}
            return put(now, replace(pod, metadata=replace(pod.metadata, labels=labels)))
        case 3:
            node = chance.choice(list(now.all(Node).values()))
            labels = {**node.metadata.labels, ZONE: chance.choice("abc")}
            return put(now, replace(node, metadata=replace(node.metadata, labels=labels)))
        case 4:
            one = chance.choice(list(now.all(Service).values()))
            spec = replace(one.spec, publishNotReadyAddresses=not one.spec.publishNotReadyAddresses)
            return put(now, replace(one, spec=spec))
        case _:
            one = chance.choice(list(now.all(Service).values()))
            near = chance.choice([None, "PreferSameZone", "PreferSameNode"])
            return put(now, replace(one, spec=replace(one.spec, trafficDistribution=near)))
