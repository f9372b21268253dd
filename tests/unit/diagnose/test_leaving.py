"""Deleted objects that stay: what keeps them is named, and what else it keeps."""

from __future__ import annotations

from k8snetlab.api.ages import moment
from k8snetlab.api.config import ConfigMap
from k8snetlab.api.core import Namespace
from k8snetlab.api.meta import FOREGROUND, ObjectMeta
from k8snetlab.diagnose.finding import ordered
from k8snetlab.diagnose.leaving import PATIENCE, kept
from k8snetlab.testing.fake_cluster import LAB, FakeCluster

AT = "2026-01-01T00:00:00Z"


def deleted(name: str, *finalizers: str) -> ConfigMap:
    metadata = ObjectMeta(
        name=name, namespace="shop", finalizers=finalizers, deletionTimestamp=AT, deletionGracePeriodSeconds=0
    )
    return ConfigMap(metadata=metadata)


def test_what_finalizers_keep_is_named_with_its_namespace_once_they_had_their_time() -> None:
    cluster = FakeCluster(LAB % 1).run()
    for one in (deleted("a", "example.com/kept", FOREGROUND), deleted("b", FOREGROUND)):
        cluster.store(one)
    cluster.store(Namespace(metadata=ObjectMeta(name="shop", deletionTimestamp=AT)))
    began = moment(AT)
    assert began and list(kept(cluster.snapshot, began + PATIENCE)) == []
    (found,) = ordered(kept(cluster.snapshot, began + PATIENCE + 1))
    assert (
        found.message == f"ConfigMap shop/a was deleted at {AT} and stays: example.com/kept keeps it"
        and "namespace shop stays Terminating for it" in found.consequence
    )
    assert found.mend.startswith(
        'kubectl patch configmaps a -n shop --type=merge -p \'{"metadata": {"finalizers": ["foregroundDeletion"]}}\''
    )


def test_many_are_counted() -> None:
    cluster = FakeCluster(LAB % 1).run()
    for number in range(12):
        cluster.store(deleted(f"c{number:02}", "example.com/kept"))
    found = list(kept(cluster.snapshot, 2e9))
    assert len(found) == 6
    assert found[-1].message.startswith("finalizers keep 7 more deleted objects: ConfigMap shop/c05, ")
    assert found[-1].message.endswith(" and 2 more")
