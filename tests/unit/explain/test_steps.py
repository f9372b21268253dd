"""What a change of an object says: who did it, in words, and which objects are told of together."""

from __future__ import annotations

from msgspec.structs import replace

from k8snetlab.api.apps import Deployment, DeploymentSpec, ReplicaSet, WorkloadStatus
from k8snetlab.api.core import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStatus,
    ObjectReference,
    Pod,
    PodIP,
    PodSpec,
    PodStatus,
    Service,
    ServiceSpec,
)
from k8snetlab.api.discovery import MANAGED_BY, SERVICE_NAME, Endpoint, EndpointConditions, EndpointSlice
from k8snetlab.api.events import Event, EventSource
from k8snetlab.api.meta import Object, ObjectMeta, OwnerReference
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cli.follow import line
from k8snetlab.explain.following import Family, changes, is_ready
from k8snetlab.explain.steps import as_it_stands, steps
from k8snetlab.messages.follow import Step


def meta(name: str, revision: int = 7, owner: Object | None = None, **more: object) -> ObjectMeta:
    owners: tuple[OwnerReference, ...] = ()
    if owner is not None:
        reference = OwnerReference(
            apiVersion="apps/v1", kind=owner.KIND, name=owner.name, uid=owner.metadata.uid, controller=True
        )
        owners = (reference,)
    fields = {"uid": f"uid-{name}", "resourceVersion": str(revision), "ownerReferences": owners, **more}
    return ObjectMeta(name=name, namespace="default", **fields)  # type: ignore[arg-type]


DEPLOYMENT = Deployment(metadata=meta("web", 5, generation=1), spec=DeploymentSpec(replicas=1))
SET = ReplicaSet(metadata=meta("web-1", 6, DEPLOYMENT))
BOUND = PodSpec(nodeName="node1", containers=(Container(name="c"),))
POD = Pod(metadata=meta("web-1-a", 7, SET, labels={"app": "web"}), spec=BOUND)
RUNNING = ContainerStatus(name="c", ready=True, state=ContainerState(running=ContainerStateRunning()))
READY = replace(POD, status=PodStatus(phase="Running", containerStatuses=(RUNNING,), podIPs=(PodIP(ip="10.0.0.7"),)))
SERVICE = Service(metadata=meta("web", 4), spec=ServiceSpec(selector={"app": "web"}))
SLICE = EndpointSlice(
    metadata=meta("web-x", 9, labels={SERVICE_NAME: "web", MANAGED_BY: "endpointslice-controller.k8s.io"}),
    endpoints=(Endpoint(addresses=("10.0.0.7",), conditions=EndpointConditions(ready=True)),),
)
EVENT = Event(
    metadata=meta("e", 12),
    involvedObject=ObjectReference(kind="Pod", namespace="default", name="web-1-a"),
    reason="Scheduled",
    message="Successfully assigned default/web-1-a to node1",
    origin=EventSource(component="default-scheduler"),
    count=1,
)


def told(old: Object | None, new: Object | None) -> list[tuple[str, str]]:
    return [(step.who, step.what) for step in steps(old, new, 1.0, 7)]


def test_each_maker_is_named() -> None:
    assert told(None, DEPLOYMENT) == [("API", "deployment/web is created")]
    assert told(None, SET) == [("deployment-controller", "replicaset/web-1 is created")]
    assert told(None, POD) == [
        ("replicaset-controller", "pod/web-1-a is created"),
        ("default-scheduler", "pod/web-1-a is bound to node1"),
    ]
    assert told(None, SLICE) == [
        ("endpointslice-controller", "endpointslice/web-x is created, with 1 of 1 ready: 10.0.0.7")
    ]


def test_what_a_kubelet_and_the_address_allocator_write() -> None:
    assert told(POD, READY) == [
        ("host-local", "pod/web-1-a gets 10.0.0.7"),
        ("kubelet", "pod/web-1-a is Running, 1/1 ready"),
    ]
    (_, kubelet) = steps(POD, READY, 1.0, 7)
    assert kubelet.node == "node1"


def test_a_spec_is_its_writers_and_a_status_its_controllers() -> None:
    bigger = replace(DEPLOYMENT, metadata=meta("web", 8, generation=2), spec=DeploymentSpec(replicas=3))
    assert told(DEPLOYMENT, bigger) == [("API", "deployment/web is scaled from 1 to 3")]
    status = WorkloadStatus(replicas=3, availableReplicas=1, updatedReplicas=3)
    assert told(bigger, replace(bigger, status=status)) == [
        ("deployment-controller", "deployment/web has 1 of 3 pods available, 3 up to date")
    ]
    assert told(bigger, bigger) == []


def test_an_end_has_two_steps() -> None:
    going = replace(READY, metadata=replace(READY.metadata, deletionTimestamp="2026-01-01T00:00:00Z"))
    assert told(READY, going) == [("replicaset-controller", "pod/web-1-a is marked for deletion")]
    assert told(going, None) == [("kubelet", "pod/web-1-a is gone")]


def test_an_event_is_told_with_its_object() -> None:
    (step,) = steps(None, replace(EVENT, count=3), 1.0, 12)
    assert (step.kind, step.who, step.object) == ("event", "default-scheduler", "Pod default/web-1-a")
    assert step.what == "Scheduled (x3): Successfully assigned default/web-1-a to node1"


def test_a_family_is_what_is_owned_and_the_services_that_lead_there() -> None:
    other = Service(metadata=meta("other"), spec=ServiceSpec(selector={"app": "other"}))
    snapshot = Snapshot.of((DEPLOYMENT, SET, READY, SERVICE, SLICE, EVENT, other), 12)
    family = Family("Deployment", "default", "web")
    assert [obj.name for obj in family.look(snapshot)] == ["web", "web-1", "web-1-a", "web", "web-x"]
    assert family.look(snapshot) == []
    assert family.has(EVENT) and not family.has(other)
    assert family.events(snapshot, [READY]) == [EVENT]
    assert [pod.name for pod in family.pods(snapshot)] == ["web-1-a"]
    gone = snapshot.changed([(Pod, READY.key, None)], 13)
    (change,) = changes(gone, snapshot)
    assert change == (READY, None, 13) and family.has(READY)


def test_what_is_ready() -> None:
    snapshot = Snapshot.of((READY, SERVICE, SLICE), 9)
    assert is_ready(READY, snapshot) is READY.ready
    assert is_ready(SERVICE, snapshot)
    assert not is_ready(SERVICE, Snapshot())
    assert not is_ready(None, snapshot)
    assert not is_ready(DEPLOYMENT, snapshot)
    full = WorkloadStatus(replicas=1, readyReplicas=1, availableReplicas=1, updatedReplicas=1, observedGeneration=1)
    assert is_ready(replace(DEPLOYMENT, status=full), snapshot)


def test_a_line_has_time_revision_who_and_what() -> None:
    step = Step(
        1.25, "write", "kubelet", "pod/a is Running, 1/1 ready", node="node1", object="Pod default/a", revision=7
    )
    assert line(step, 1.0).split(maxsplit=5)[:5] == ["250", "ms", "7", "kubelet", "node1"]
    assert line(as_it_stands(DEPLOYMENT, 1.0)[0], 1.0).split()[0] == "before"
    assert "is there" in line(as_it_stands(DEPLOYMENT, 1.0)[0], 1.0)
