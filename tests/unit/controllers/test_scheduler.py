"""The scheduler's filters and words, and what a node's kubelet does not take."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.load import load
from k8snetlab.controllers import Context, reconcile, work_out
from k8snetlab.errors import ManifestError
from k8snetlab.testing.fake_cluster import LAB, FakeCluster, deployment

NO_PORTS = "node(s) didn't have free ports for the requested pod ports"
AFFINITY = "node(s) didn't match Pod's node affinity/selector"


def pod(name: str, spec: str = "", port: str = "containerPort: 80, hostPort: 8080") -> str:
    return f"""---
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec: {{{spec} containers: [{{name: c, ports: [{{{port}}}]}}]}}
"""


def affinity(term: str) -> str:
    required = f"{{nodeSelectorTerms: [{term}]}}"
    return f"affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: {required}}}}},"


def nodes_of(world: FakeCluster) -> dict[str, str]:
    return {p.name: p.spec.nodeName for p in world.pods()}


def why(world: FakeCluster, name: str) -> str:
    found = world.pods(name)[0]
    (condition,) = [c for c in found.status.conditions if c.type == "PodScheduled"]
    assert (condition.status, condition.reason) == ("False", "Unschedulable")
    assert condition.message == found.status.message
    return condition.message


def test_host_ports_are_the_schedulers() -> None:
    world = FakeCluster(LAB % 2 + pod("a") + pod("b") + pod("c")).run()
    assert sorted(nodes_of(world).values()) == ["", "node1", "node2"]
    assert why(world, "c") == f"0/2 nodes are available: 2 {NO_PORTS}."
    world.delete(world.pods("a")[0], force=True)
    world.run()
    assert nodes_of(world)["c"] == "node1"


@pytest.mark.parametrize(
    ("first", "second", "conflict"),
    [
        ("hostPort: 80", "hostPort: 80, hostIP: 10.0.0.1", True),
        ("hostPort: 80, hostIP: 0.0.0.0", "hostPort: 80, hostIP: 10.0.0.1", True),
        ("hostPort: 80, hostIP: 10.0.0.2", "hostPort: 80, hostIP: 10.0.0.1", False),
        ("hostPort: 80, hostIP: 10.0.0.1", "hostPort: 80, hostIP: 10.0.0.1", True),
        ("hostPort: 80", "hostPort: 80, protocol: UDP", False),
        ("hostPort: 80", "hostPort: 81", False),
    ],
)
def test_when_host_ports_are_in_each_others_way(first: str, second: str, conflict: bool) -> None:
    world = FakeCluster(
        LAB % 1 + pod("a", port=f"containerPort: 80, {first}") + pod("b", port=f"containerPort: 80, {second}")
    )
    assert bool(world.run().pods("b")[0].spec.nodeName) != conflict


def test_ports_in_the_nodes_network_are_host_ports() -> None:
    host = pod("a", "hostNetwork: true,", "containerPort: 8080")
    world = FakeCluster(LAB % 1 + host + pod("b")).run()
    assert why(world, "b") == f"0/1 nodes are available: 1 {NO_PORTS}."


def test_a_pod_on_its_way_out_holds_its_port() -> None:
    world = FakeCluster(LAB % 1 + pod("a")).run()
    world.delete(world.pods("a")[0])
    world.apply(pod("b")).settle()
    assert why(world, "b") == f"0/1 nodes are available: 1 {NO_PORTS}."
    assert nodes_of(world.run()) == {"b": "node1"}


def test_a_rolling_update_that_cannot_move_keeps_the_old_pod() -> None:
    ports = "[{containerPort: 80, hostPort: 8080}]"
    world = FakeCluster(LAB % 1 + deployment("edge", 1, ports=ports)).run()
    (old,) = world.pods()
    world.apply(deployment("edge", 1, image="b", ports=ports)).run()
    assert {p.status.phase for p in world.pods()} == {"Running", "Pending"}
    assert next(p for p in world.pods() if p.status.phase == "Running").name == old.name


def test_reasons_are_counted_and_sorted() -> None:
    world = FakeCluster(LAB % 3 + pod("a", "nodeName: node1,")).run()
    world.store(
        replace(
            world.snapshot.node("node3"), metadata=replace(world.snapshot.node("node3").metadata, labels={"x": "1"})
        )
    )
    world.apply(pod("b", "nodeSelector: {kubernetes.io/hostname: node1},")).run()
    assert why(world, "b") == f"0/3 nodes are available: 1 {NO_PORTS}, 2 {AFFINITY}."
    assert why(FakeCluster(pod("alone")).settle(), "alone") == "no nodes available to schedule pods"


@pytest.mark.parametrize(
    ("term", "fits"),
    [
        ("{matchExpressions: [{key: disk, operator: In, values: [ssd, hdd]}]}", True),
        ("{matchExpressions: [{key: disk, operator: In, values: [hdd]}]}", False),
        ("{matchExpressions: [{key: disk, operator: NotIn, values: [hdd]}]}", True),
        ("{matchExpressions: [{key: none, operator: NotIn, values: [a]}]}", True),
        ("{matchExpressions: [{key: disk, operator: Exists}]}", True),
        ("{matchExpressions: [{key: disk, operator: DoesNotExist}]}", False),
        ("{matchExpressions: [{key: size, operator: Gt, values: ['9']}]}", True),
        ("{matchExpressions: [{key: size, operator: Gt, values: ['10']}]}", False),
        ("{matchExpressions: [{key: size, operator: Lt, values: ['11']}]}", True),
        ("{matchExpressions: [{key: disk, operator: Lt, values: ['11']}]}", False),
        ("{matchExpressions: [{key: none, operator: Gt, values: ['1']}]}", False),
        ("{matchFields: [{key: metadata.name, operator: In, values: [node1]}]}", True),
        ("{matchFields: [{key: metadata.name, operator: NotIn, values: [node1]}]}", False),
        ("{}", False),
        (
            "{matchFields: [{key: metadata.name, operator: In, values: [x]}]},"
            " {matchExpressions: [{key: disk, operator: Exists}]}",
            True,
        ),
        (
            "{matchFields: [{key: metadata.name, operator: In, values: [node1]}],"
            " matchExpressions: [{key: disk, operator: DoesNotExist}]}",
            False,
        ),
    ],
)
def test_a_pod_goes_only_where_its_required_affinity_fits(term: str, fits: bool) -> None:
    lab = LAB % "[{name: node1, labels: {disk: ssd, size: '10'}}]"
    world = FakeCluster(lab + pod("a", affinity(term))).run()
    assert nodes_of(world) == {"a": "node1" if fits else ""}
    if not fits:
        assert why(world, "a") == f"0/1 nodes are available: 1 {AFFINITY}."


@pytest.mark.parametrize(
    ("term", "said"),
    [
        ("{matchExpressions: [{key: a, operator: In}]}", "values: Required value: must be specified when"),
        ("{matchExpressions: [{key: a, operator: Exists, values: [b]}]}", "values: Forbidden: may not be specified"),
        ("{matchExpressions: [{key: a, operator: Gt, values: [b, c]}]}", "must be specified single value when"),
        ("{matchFields: [{key: metadata.uid, operator: In, values: [a]}]}", "not a valid field selector key"),
        ("{matchFields: [{key: metadata.name, operator: In, values: [a, b]}]}", "must be only one value when"),
        ("{matchFields: [{key: metadata.name, operator: Exists}]}", "not a valid selector operator"),
        ("{matchExpressions: [{key: 'a b', operator: Exists}]}", "key"),
        ("{matchExpressions: [{key: a, operator: Wrong}]}", "operator"),
        ("", "nodeSelectorTerms: Required value: must have at least one node selector term"),
    ],
)
def test_wrong_node_affinity(term: str, said: str) -> None:
    with pytest.raises(ManifestError) as raised:
        FakeCluster(LAB % 1).apply(pod("a", affinity(term)))
    assert said in raised.value.message and "f.yaml:" in raised.value.message


def test_a_node_takes_no_more_pods_than_max_pods() -> None:
    lab = "---\n{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: lab}, spec: {maxPods: 3, nodes: %s}}\n"
    world = FakeCluster(lab % "[{name: node1}, {name: node2, maxPods: 1}]" + deployment("web", 6)).run()
    assert sorted(nodes_of(world).values()) == ["", "", "node1", "node1", "node1", "node2"]
    assert world.snapshot.node("node2").status.allocatable == {"pods": "1"}
    waiting = next(p for p in world.pods() if not p.spec.nodeName)
    assert why(world, waiting.name) == "0/2 nodes are available: 2 Too many pods."
    for wrong in ("0", "1024", "many"):
        with pytest.raises(ManifestError, match="maxPods"):
            load([("f.yaml", (lab % 2).replace("maxPods: 3", f"maxPods: {wrong}"))])
    assert FakeCluster(LAB % 1).settle().snapshot.node("node1").status.allocatable == {"pods": "110"}


def test_a_pod_bound_by_name_is_rejected_by_its_node() -> None:
    world = FakeCluster(LAB % 2 + pod("a", "nodeName: node1,") + pod("b", "nodeName: node1,")).run()
    first, second = world.pods()
    assert first.ready and not second.ips
    assert (second.status.phase, second.status.reason) == ("Failed", "NodePorts")
    assert second.status.message == f"Pod was rejected: Predicate NodePorts failed: {NO_PORTS}"
    wrong = pod("c", "nodeName: node2, nodeSelector: {a: b},")
    assert world.apply(wrong).run().pods("c")[0].status.reason == "NodeAffinity"


def test_a_replica_set_makes_no_end_of_rejected_pods() -> None:
    text = deployment("web", 3, ports="[{containerPort: 80, hostPort: 8080}]")
    world = FakeCluster(LAB % 1 + text.replace("spec: {containers", "spec: {nodeName: node1, containers")).run()
    assert [p.status.phase for p in world.pods()] == ["Running", "Failed", "Failed"]
    world.apply(deployment("web", 0).replace("spec: {containers", "spec: {nodeName: node1, containers")).run()


def test_one_look_tells_an_event_for_each_thing_it_did() -> None:
    world = FakeCluster(LAB % 1 + deployment("web", 1) + pod("a") + pod("b"))
    outcome = work_out(world.snapshot, None, Context())
    told = {(n.component, n.type, n.reason, n.object.KIND, n.message) for w in outcome.writes for n in w.notes}
    web = next(w.object for w in outcome.writes if isinstance(w.object, Pod) and w.object.name.startswith("web"))
    rs = web.metadata.ownerReferences[0].name
    assert told == {
        (
            "deployment-controller",
            "Normal",
            "ScalingReplicaSet",
            "Deployment",
            f"Scaled up replica set {rs} from 0 to 1",
        ),
        ("replicaset-controller", "Normal", "SuccessfulCreate", "ReplicaSet", f"Created pod: {web.name}"),
        ("default-scheduler", "Normal", "Scheduled", "Pod", f"Successfully assigned default/{web.name} to node1"),
        ("default-scheduler", "Normal", "Scheduled", "Pod", "Successfully assigned default/a to node1"),
        ("default-scheduler", "Warning", "FailedScheduling", "Pod", f"0/1 nodes are available: 1 {NO_PORTS}."),
    }


def test_labels_that_a_kubelet_gives_its_node() -> None:
    lab = LAB % "[{name: node1, labels: {mine: a}}]"
    world = FakeCluster(lab)
    world.snapshot = world.snapshot.changed(
        [(type(w.object), w.object.key, w.object) for w in reconcile(world.snapshot, None, Context("arm64"))], 9
    )
    standard = {
        "kubernetes.io/arch": "arm64",
        "kubernetes.io/os": "linux",
        "kubernetes.io/hostname": "node1",
        "beta.kubernetes.io/arch": "arm64",
        "beta.kubernetes.io/os": "linux",
    }
    assert world.snapshot.node("node1").metadata.labels == {**standard, "mine": "a"}
    world.apply(LAB % "[{name: node1, labels: {mine: b}}]").settle()
    labels = world.snapshot.all(Node)["", "node1"].metadata.labels
    assert labels == {**standard, "kubernetes.io/arch": "amd64", "beta.kubernetes.io/arch": "amd64", "mine": "b"}
