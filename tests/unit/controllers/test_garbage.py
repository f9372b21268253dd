"""What goes with its owner, and when: also where owners go round in a circle, or a finalizer never goes."""

from __future__ import annotations

from msgspec.structs import replace

from k8snetlab.api.config import ConfigMap
from k8snetlab.api.core import Namespace, Pod
from k8snetlab.api.meta import ObjectMeta, OwnerReference
from k8snetlab.testing.fake_cluster import LAB, FakeCluster

T0 = "2026-01-01T00:00:00Z"


def owner(name: str, blocks: bool = True, uid: str = "") -> OwnerReference:
    return OwnerReference("v1", "ConfigMap", name, uid or f"uid-{name}", blockOwnerDeletion=blocks)


def config(
    name: str, *owners: OwnerReference, finalizers: tuple[str, ...] = (), namespace: str = "default"
) -> ConfigMap:
    return ConfigMap(
        metadata=ObjectMeta(
            name=name, namespace=namespace, uid=f"uid-{name}", ownerReferences=owners, finalizers=finalizers
        )
    )


def world(*objects: ConfigMap) -> FakeCluster:
    found = FakeCluster(LAB % 1).run()
    for one in objects:
        found.store(one)
    return found.settle()


def names(cluster: FakeCluster) -> str:
    return "".join(sorted(name for _, name in cluster.snapshot.all(ConfigMap)))


def foreground(cluster: FakeCluster, name: str) -> FakeCluster:
    cluster.delete(cluster.snapshot.all(ConfigMap)["default", name], foreground=True)
    return cluster.settle()


def background(cluster: FakeCluster, name: str) -> FakeCluster:
    cluster.delete(cluster.snapshot.all(ConfigMap)["default", name])
    return cluster.settle()


def test_owners_in_a_circle_keep_each_other_and_go_together() -> None:
    circle = config("a", owner("c")), config("b", owner("a")), config("c", owner("b")), config("s", owner("s"))
    assert names(world(*circle)) == "abcs", "each has an owner that is there"
    assert names(background(world(*circle), "b")) == "s"
    assert names(foreground(world(*circle), "b")) == "s"
    assert names(foreground(world(*circle), "s")) == "abc"


def test_an_object_goes_when_the_last_of_its_owners_has_gone() -> None:
    both = world(config("a"), config("b"), config("d", owner("a"), owner("b")))
    assert names(background(both, "a")) == "bd"
    assert names(background(both, "b")) == ""
    assert names(world(config("x", owner("none")), config("y", owner("x", uid="another")))) == ""


def test_in_the_foreground_an_owner_waits_for_what_blocks_its_deletion_and_for_nothing_else() -> None:
    kept = ("example.com/kept",)
    blocking = world(config("a"), config("d", owner("a"), finalizers=kept))
    assert names(foreground(blocking, "a")) == "ad"
    assert all(one.metadata.deletionTimestamp for one in blocking.snapshot.all(ConfigMap).values())
    dependent = blocking.snapshot.all(ConfigMap)["default", "d"]
    blocking.store(replace(dependent, metadata=replace(dependent.metadata, finalizers=())))
    assert names(blocking.settle()) == ""
    free = world(config("a"), config("d", owner("a", blocks=False), finalizers=kept))
    assert names(foreground(free, "a")) == "d"


def test_a_namespace_says_which_finalizers_keep_it() -> None:
    kept = config("d", finalizers=("example.com/kept",), namespace="shop")
    cluster = world(config("a", namespace="shop"), kept)
    space = cluster.snapshot.all(Namespace)["", "shop"]
    deleted = replace(space.metadata, deletionTimestamp=T0, deletionGracePeriodSeconds=0)
    cluster.store(replace(space, metadata=deleted, spec=replace(space.spec, finalizers=("kubernetes",))))
    cluster.run()
    assert names(cluster) == "d" and not cluster.snapshot.all(Pod)
    told = {one.type: one for one in cluster.snapshot.all(Namespace)["", "shop"].status.conditions}
    assert told["NamespaceContentRemaining"].message == (
        "Some resources are remaining: configmaps. has 1 resource instances"
    )
    assert told["NamespaceFinalizersRemaining"].message == (
        "Some content in the namespace has finalizers remaining: example.com/kept in 1 resource instances"
    )
    assert (told["NamespaceFinalizersRemaining"].status, told["NamespaceDeletionContentFailure"].status) == (
        "True",
        "False",
    )
