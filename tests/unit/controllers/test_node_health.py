"""Nodes that are not ready: their taints, and which pods they drive away, and when."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from k8snetlab.api.ages import moment
from k8snetlab.api.core import Condition, Node, Pod, Taint
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.controllers.node_lifecycle import silent_node, with_condition
from k8snetlab.testing.fake_cluster import LAB, FakeCluster, deployment, service

UNREACHABLE = "node.kubernetes.io/unreachable"
POD = """---
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec: {nodeName: node2, %s containers: [{name: c, image: i}]}
"""
PATIENT = "tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute%s}],"
READY = Condition(type="Ready", status="True", reason="KubeletReady", message="kubelet is posting ready status")
T0, T1 = "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"


def world(more: str = "") -> FakeCluster:
    found = FakeCluster(LAB % 2 + more).settle()
    for node in found.snapshot.all(Node).values():
        found.store(with_condition(node, READY, T0))
    return found.run()


def lose(cluster: FakeCluster, name: str = "node2") -> FakeCluster:
    cluster.store(silent_node(cluster.snapshot.node(name), T1))
    return cluster.settle()


def taints(cluster: FakeCluster, name: str = "node2") -> list[tuple[str, str]]:
    return [(one.key, one.effect) for one in cluster.snapshot.node(name).spec.taints]


def going(cluster: FakeCluster) -> set[str]:
    return {pod.name for pod in cluster.pods() if pod.metadata.deletionTimestamp}


def told(cluster: FakeCluster) -> set[tuple[str, str]]:
    return {(note.reason, note.object.name) for write in cluster.history for note in write.notes}


def test_a_silent_node_is_tainted_and_its_pods_are_no_endpoints_until_it_is_back() -> None:
    cluster = lose(world(deployment("web", 4) + service("web")))
    assert taints(cluster) == [(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]
    assert all(moment(one.timeAdded) == cluster.time for one in cluster.snapshot.node("node2").spec.taints)
    assert {pod.ready for pod in cluster.pods() if pod.spec.nodeName == "node2"} == {False}
    (slice_,) = (s for s in cluster.snapshot.all(EndpointSlice).values() if s.name.startswith("web"))
    assert {e.nodeName: e.conditions.ready for e in slice_.endpoints} == {"node1": True, "node2": False}
    assert ("NodeNotReady", "node2") in told(cluster) and not taints(cluster, "node1")
    assert {reason for reason, name in told(cluster) if name.startswith("web-")} >= {"NodeNotReady"}
    node = cluster.snapshot.node("node2")
    cluster.store(with_condition(node, READY, T1))
    assert not taints(cluster.settle()) and not going(cluster)


def test_a_node_that_says_it_is_not_ready_has_the_other_taint() -> None:
    cluster = lose(world())
    node = cluster.snapshot.node("node2")
    cluster.store(with_condition(node, Condition(type="Ready", status="False", reason="KubeletNotReady"), T1))
    found = taints(cluster.settle())
    assert found == [("node.kubernetes.io/not-ready", "NoSchedule"), ("node.kubernetes.io/not-ready", "NoExecute")]


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        ("", 300),  # what admission gives those that do not say it
        (PATIENT % ", tolerationSeconds: 7", 7),
        (PATIENT % ", tolerationSeconds: 0", 0),
        (PATIENT % ", tolerationSeconds: -5", 0),
        (PATIENT % "", None),
        ("tolerations: [{operator: Exists}],", None),
    ],
)
def test_a_pod_leaves_when_it_tolerates_its_node_no_longer(spec: str, seconds: int | None) -> None:
    cluster = lose(world(POD % ("p", spec)))
    if seconds is None:
        assert not going(cluster.later(100_000))
        return
    if seconds:
        assert not going(cluster) and not going(cluster.later(seconds - 1))
    assert going(cluster.later(1)) == {"p"}
    assert ("TaintManagerEviction", "p") in told(cluster)


def test_of_several_tolerations_the_shortest_counts() -> None:
    both = f"tolerations: [{{key: {UNREACHABLE}, operator: Exists, tolerationSeconds: 9}}, "
    both += f"{{key: {UNREACHABLE}, operator: Exists, effect: NoExecute, tolerationSeconds: 3}}],"
    assert going(lose(world(POD % ("p", both))).later(3)) == {"p"}


def test_a_pod_that_comes_later_tolerates_from_then_on() -> None:
    cluster = lose(world()).later(100)
    cluster.apply(POD % ("late", PATIENT % ", tolerationSeconds: 10")).settle()
    pod = cluster.pods("late")[0]
    assert pod.spec.nodeName == "node2" and not going(cluster.later(9))
    assert going(cluster.later(1)) == {"late"}


def test_a_node_that_is_back_in_time_keeps_its_pods() -> None:
    cluster = lose(world(POD % ("p", PATIENT % ", tolerationSeconds: 7"))).later(6)
    cluster.store(with_condition(cluster.snapshot.node("node2"), READY, T1))
    assert not going(cluster.run().later(1000))


def test_a_taint_of_the_users_counts_from_when_it_was_seen() -> None:
    tolerates = "tolerations: [{key: mine, operator: Exists, effect: NoExecute, tolerationSeconds: 5}],"
    cluster = world(POD % ("p", tolerates) + POD % ("q", ""))
    node = cluster.snapshot.node("node2")
    cluster.store(replace(node, spec=replace(node.spec, taints=(Taint(key="mine", effect="NoExecute"),))))
    assert going(cluster.settle()) == {"q"}
    (taint,) = cluster.snapshot.node("node2").spec.taints
    assert moment(taint.timeAdded) == cluster.time
    assert going(cluster.later(5)) == {"p", "q"}


@pytest.mark.parametrize("added", ["never", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_time_that_no_clock_shows_harms_nobody_else(added: str) -> None:
    cluster = world(POD % ("p", PATIENT % ", tolerationSeconds: 5") + POD % ("q", ""))
    node = cluster.snapshot.node("node2")
    taint = Taint(key=UNREACHABLE, effect="NoExecute", timeAdded=added)
    cluster.store(silent_node(replace(node, spec=replace(node.spec, taints=(taint,))), T1))
    cluster.settle()
    assert isinstance(cluster.snapshot.get(Pod, "q", "default"), Pod)
    cluster.apply(POD.replace("node2", "node1") % ("other", "")).settle()
    assert cluster.pods("other")[0].ips and "other" not in going(cluster)
