"""What a request waits for: its own objects and what follows from them, and no stranger's."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest

from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.core import Namespace, Node, Pod, Service
from k8snetlab.api.meta import Object, OwnerReference
from k8snetlab.api.selection import services_of
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.running.followed import Followed


def made(type_: type, name: str, owner: Object | None = None, uid: str = "", **more: object) -> Object:
    """An object of the namespace default with a uid, and an owner."""
    obj: Object = msgspec.convert({"metadata": {"name": name, "namespace": "default"}, **more}, type_)
    owners = (
        (OwnerReference(apiVersion=owner.API_VERSION, kind=owner.KIND, name=owner.name, uid=owner.metadata.uid),)
        if owner
        else ()
    )
    metadata = msgspec.structs.replace(obj.metadata, uid=uid or f"uid-{type_.__name__}-{name}", ownerReferences=owners)
    return msgspec.structs.replace(obj, metadata=metadata)


WEB = made(Deployment, "web", spec={"replicas": 2})
SET = made(ReplicaSet, "web-1", WEB, spec={"replicas": 2})
PODS = [made(Pod, f"web-1-{name}", SET, spec={"nodeName": "node1"}) for name in "ab"]
STRANGER = made(Pod, "stranger", spec={"nodeName": "node2"})
WORLD = Snapshot.of([WEB, SET, *PODS, STRANGER])


def names(pods: Mapping[Key, Pod]) -> list[str]:
    return sorted(pod.name for pod in pods.values())


@pytest.mark.parametrize("obj", [WEB, SET], ids=["Deployment", "ReplicaSet"])
def test_the_pods_of_a_workload_are_its_requests_own(obj: Object) -> None:
    followed = Followed([obj])
    assert names(followed.look(WORLD)) == ["web-1-a", "web-1-b"]
    assert followed.nodes(WORLD) == {"node1"}


def test_a_service_concerns_every_node_and_no_pod() -> None:
    followed = Followed([made(Service, "web")])
    assert followed.look(WORLD) == {} and followed.nodes(WORLD) is None


def test_a_pod_that_a_service_selects_concerns_every_node() -> None:
    pod = msgspec.structs.replace(STRANGER, metadata=msgspec.structs.replace(STRANGER.metadata, labels={"app": "web"}))
    world = Snapshot.of([pod, made(Service, "web", spec={"selector": {"app": "web"}})])
    followed = Followed([pod])
    followed.look(world)
    assert followed.nodes(world) is None


def test_of_a_thousand_pods_one_that_a_service_selects_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def counted(pod: Pod, snapshot: Snapshot) -> list[Service]:
        nonlocal asked
        asked += 1
        return services_of(pod, snapshot)

    def labelled(number: int, app: str) -> Object:
        pod = made(Pod, f"web-{number}", SET, spec={"nodeName": "node1"})
        return msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, labels={"app": app}))

    monkeypatch.setattr("k8snetlab.running.followed.services_of", counted)
    pods = [labelled(number, "web") for number in range(1000)]
    world = Snapshot.of([WEB, SET, *pods, made(Service, "web", spec={"selector": {"app": "web"}})])
    followed = Followed([WEB])
    for _ in range(3):
        followed.look(world)
        assert followed.nodes(world) is None
    assert asked == 1
    first = labelled(0, "other")
    world = world.changed([(Pod, first.key, first)], 2)
    followed.look(world)
    assert followed.nodes(world) is None, "others are selected still"
    assert asked == 3


def test_pods_of_a_deleted_deployment_are_followed_when_their_owners_are_gone() -> None:
    followed = Followed()
    followed.goes(WEB, WORLD)
    left = WORLD.changed([(Deployment, WEB.key, None), (ReplicaSet, SET.key, None)], 2)
    assert names(followed.look(left)) == ["web-1-a", "web-1-b"]
    gone = left.changed([(Pod, pod.key, None) for pod in PODS], 3)
    assert followed.look(gone) == {} and followed.nodes(gone) == {"node1"}


def test_who_takes_the_name_of_a_deleted_pod_is_a_stranger() -> None:
    followed = Followed()
    followed.goes(STRANGER, WORLD)
    again = made(Pod, "stranger", uid="another")
    assert followed.look(WORLD.changed([(Pod, again.key, again)], 2)) == {}


def test_who_takes_the_name_of_a_deleted_deployment_has_pods_of_its_own() -> None:
    followed = Followed()
    followed.goes(WEB, WORLD)
    other = made(ReplicaSet, "web-2", made(Deployment, "web", uid="another"))
    pod = made(Pod, "web-2-a", other)
    world = Snapshot.of([made(Deployment, "web", uid="another"), other, pod])
    assert followed.look(world) == {} and followed.short(world) == []


def test_a_deleted_namespace_takes_its_pods_along() -> None:
    followed = Followed()
    followed.goes(Namespace(metadata=msgspec.convert({"name": "default"}, type(STRANGER.metadata))), WORLD)
    assert len(followed.look(WORLD)) == 3


def test_pods_that_are_not_made_are_missed() -> None:
    followed = Followed([WEB])
    fewer = WORLD.changed([(Pod, PODS[0].key, None)], 2)
    assert followed.short(WORLD) == []
    assert followed.short(fewer) == ["deployment default/web: 1 of 2 pods are made"]


def test_a_node_concerns_all() -> None:
    assert Followed([Node()]).nodes(WORLD) is None


def test_its_pods_are_looked_for_again_when_a_pod_a_set_or_the_request_is_another() -> None:
    followed = Followed([WEB])
    found = followed.look(WORLD)
    other = WORLD.changed([(Node, ("", "node9"), made(Node, "node9"))], 2)
    assert followed.look(other) is found, "a node is neither"
    third = made(Pod, "web-1-c", SET, spec={"nodeName": "node1"})
    assert names(followed.look(other.changed([(Pod, third.key, third)], 3))) == ["web-1-a", "web-1-b", "web-1-c"]
    followed.comes(STRANGER)
    assert names(followed.look(WORLD)) == ["stranger", "web-1-a", "web-1-b"]
    followed.goes(PODS[0], WORLD)
    assert names(followed.look(WORLD.changed([(Pod, PODS[0].key, None)], 4))) == ["stranger", "web-1-b"]
