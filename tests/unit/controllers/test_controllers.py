"""Controllers: nodes, namespaces, workloads, scheduling, addresses, and what is left when owners go."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from repository import SCENARIOS

from k8snetlab.api.apps import Deployment, DeploymentSpec, ReplicaSet, RollingUpdate, Strategy
from k8snetlab.api.core import Endpoints, Namespace, Node, Pod, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.lab import Lab
from k8snetlab.api.load import load
from k8snetlab.api.meta import SOURCE
from k8snetlab.api.reserved import RESERVED
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers import reconcile
from k8snetlab.controllers.ipam import LAST_RESERVED
from k8snetlab.controllers.proportions import fenceposts
from k8snetlab.dataplane.names import service_chain
from k8snetlab.state.scenarios import find
from k8snetlab.testing.fake_cluster import LAB, FakeCluster, deployment, service


def scenario(name: str) -> FakeCluster:
    loaded = load(find(str(SCENARIOS / name)))
    assert loaded.warnings == ()
    world = FakeCluster()
    for obj in loaded.objects:
        world.store(obj)
    return world.run()


def ips(world: FakeCluster, prefix: str) -> set[str]:
    return {pod.status.podIP for pod in world.pods(prefix)}


# --- the scenarios ---


def test_business_manager_gets_exactly_the_addresses_of_the_reference() -> None:
    world = scenario("business-manager")
    assert ips(world, "data-product") == {"172.30.76.2", "172.30.76.3", "172.30.9.3"}
    assert ips(world, "business-manager") == {"172.30.76.4", "172.30.76.5", "172.30.9.4"}
    assert ips(world, "client") == {"172.30.9.2"}
    product = world.snapshot.get(Service, "data-product", "default")
    assert product and service_chain(f"default/{product.name}:{product.spec.ports[0].name}", "TCP").endswith(
        "45TXGSBX3LGQQRTB"
    )


def test_two_nodes_is_what_its_drawing_says_and_short_enough_to_read() -> None:
    world = scenario("two-nodes")
    drawing = (SCENARIOS / "two-nodes" / "lab.yaml").read_text()
    for pod in world.pods():
        assert f"{pod.name} {pod.status.podIP}" in drawing
    web = world.snapshot.get(Service, "web", "default")
    assert web and f"{web.spec.clusterIP}:80" in drawing
    assert sum(len(text.splitlines()) for _, text in find(str(SCENARIOS / "two-nodes"))) < 40


def test_the_same_lab_looks_the_same_everywhere() -> None:
    assert scenario("business-manager").all() == scenario("business-manager").all()


def test_settled_objects_are_each_written_once_before_pods_run() -> None:
    world = FakeCluster(LAB % 2 + deployment("web") + service("web"))
    first = world.step()
    assert len({(type(w.object), w.object.key) for w in first}) == len(first)
    assert world.step() == []


# --- nodes and namespaces ---


def test_nodes_come_from_the_lab_as_flannel_and_kubelet_describe_them() -> None:
    world = FakeCluster(LAB % 2).run()
    node = world.snapshot.get(Node, "node2")
    assert node
    assert node.addresses == ("192.168.0.22",)
    assert (node.spec.podCIDR, node.spec.podCIDRs) == ("10.244.2.0/24", ("10.244.2.0/24",))
    assert node.metadata.labels["kubernetes.io/hostname"] == "node2"
    annotations = node.metadata.annotations
    assert annotations["flannel.alpha.coreos.com/backend-data"].startswith('{"VNI":1,"VtepMAC":"')
    assert annotations["flannel.alpha.coreos.com/public-ip"] == "192.168.0.22"
    assert annotations["flannel.alpha.coreos.com/backend-type"] == "vxlan"
    assert annotations["flannel.alpha.coreos.com/kube-subnet-manager"] == "true"


def test_a_node_keeps_its_subnet_and_a_new_one_gets_the_first_free() -> None:
    world = FakeCluster(LAB % "[{name: a}, {name: b}, {name: c}]").run()
    world.apply(LAB % "[{name: c, address: 192.168.0.23}, {name: a, address: 192.168.0.21}]").run()
    assert {n.name: n.spec.podCIDR for n in world.snapshot.all(Node).values()} == {
        "a": "10.244.1.0/24",
        "c": "10.244.3.0/24",
    }
    world.apply(LAB % "[{name: a}, {name: c}, {name: d}, {name: e, podCIDR: 10.244.4.0/24}, {name: f}]").run()
    assert [n.spec.podCIDR for n in world.snapshot.all(Node).values()] == [f"10.244.{n}.0/24" for n in (1, 3, 2, 4, 5)]


def test_dual_stack_nodes_have_a_subnet_and_a_vtep_of_each_family() -> None:
    spec = """{underlay: {cidr: "10.0.0.0/24,fd00::/64"}, podCIDR: "10.244.0.0/16,fd00:244::/56",
      serviceCIDR: "10.96.0.0/16,fd00:96::/112"}"""
    world = FakeCluster(
        "---\n{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: lab}, spec: "
        + spec
        + "}\n"
        + deployment("web")
    ).run()
    node = world.snapshot.get(Node, "node1")
    assert node
    assert node.spec.podCIDRs == ("10.244.1.0/24", "fd00:244:0:1::/64")
    assert node.metadata.annotations["flannel.alpha.coreos.com/public-ipv6"] == "fd00::21"
    assert "flannel.alpha.coreos.com/backend-v6-data" in node.metadata.annotations
    assert sorted(p.ips for p in world.pods())[0] == ("10.244.1.2", "fd00:244:0:1::2")


def test_what_others_wrote_on_a_node_stays() -> None:
    world = FakeCluster(LAB % 1).run()
    node = world.snapshot.all(Node)[("", "node1")]
    world.store(
        replace(
            node,
            metadata=replace(node.metadata, labels={**node.metadata.labels, "disk": "ssd"}),
            spec=replace(node.spec, unschedulable=True),
        )
    )
    world.run()
    node = world.snapshot.all(Node)[("", "node1")]
    assert node.metadata.labels["disk"] == "ssd" and node.spec.unschedulable


def test_nodes_that_no_lab_names_are_left_alone() -> None:
    text = "---\n{apiVersion: v1, kind: Node, metadata: {name: other}, spec: {podCIDR: 10.244.1.0/24}}\n"
    world = FakeCluster(LAB % 1 + text).run()
    assert {n.name: n.spec.podCIDR for n in world.snapshot.all(Node).values()} == {
        "other": "10.244.1.0/24",
        "node1": "10.244.2.0/24",
    }
    world.delete(next(iter(world.snapshot.all(Lab).values())))
    world.run()
    assert [n.name for n in world.snapshot.all(Node).values()] == ["other"]


def test_namespaces_are_made_for_those_in_them_and_end_with_them() -> None:
    world = FakeCluster(
        LAB % 2 + deployment("web").replace("{name: web}", "{name: web, namespace: prod}") + service("x")
    ).run()
    names = [name for _, name in world.snapshot.all(Namespace)]
    assert names == ["default", "kube-system", "kube-public", "kube-node-lease", "prod"]
    prod = world.snapshot.get(Namespace, "prod")
    assert prod and len(world.pods()) == 3
    world.delete(prod)
    world.run()
    assert world.pods() == [] and not world.snapshot.all(ReplicaSet) and not world.snapshot.all(Deployment)
    assert not world.snapshot.get(Namespace, "prod")
    assert world.snapshot.get(Service, "x", "default")


# --- Deployments and ReplicaSets ---


def test_a_deployment_makes_a_replica_set_and_pods_with_kubernetes_names() -> None:
    world = FakeCluster(LAB % 2 + deployment("web")).run()
    (rs,) = world.snapshot.all(ReplicaSet).values()
    hash_ = rs.metadata.labels["pod-template-hash"]
    assert rs.name == f"web-{hash_}" and set(hash_) <= set("bcdf456789")
    for pod in world.pods():
        assert pod.name.startswith(rs.name + "-") and len(pod.name) == len(rs.name) + 6
        assert pod.metadata.labels == {"app": "web", "pod-template-hash": hash_}
        assert pod.metadata.ownerReferences[0].uid == rs.metadata.uid != ""
    (web,) = world.snapshot.all(Deployment).values()
    assert (web.status.replicas, web.status.readyReplicas, web.status.updatedReplicas) == (3, 3, 3)


def test_long_names_are_cut_to_what_a_host_can_be_called() -> None:
    world = FakeCluster(LAB % 1 + deployment("a" * 63, 2)).run()
    assert {len(pod.name) for pod in world.pods()} == {63}


def test_scaling_down_takes_the_unready_first_then_the_crowded_and_youngest() -> None:
    world = FakeCluster(LAB % 2 + deployment("web", 4)).run()
    oldest = world.pods()
    broken = oldest[0].name
    world.run(lambda pod: pod.name != broken)
    world.apply(deployment("web", 3)).run()
    assert {p.name for p in world.pods()} == {p.name for p in oldest[1:]}
    world.apply(deployment("web", 2)).run()
    # node2 has two pods and node1 one: the younger of node2's goes.
    assert {p.name for p in world.pods()} == {oldest[1].name, oldest[2].name}


def test_a_deleted_pod_is_replaced_under_another_name_while_it_terminates() -> None:
    world = FakeCluster(LAB % 1 + deployment("web", 1)).run()
    (old,) = world.pods()
    world.delete(old)
    world.settle()
    assert len(world.pods()) == 2
    new = next(p for p in world.pods() if p.name != old.name)
    assert new.ips and new.ips != old.ips
    world.run()
    assert [p.name for p in world.pods()] == [new.name]


def test_a_finished_pod_is_replaced() -> None:
    world = FakeCluster(LAB % 1 + deployment("web", 1)).run()
    (old,) = world.pods()
    world.store(replace(old, status=replace(old.status, phase="Failed")))
    world.run()
    assert [p.status.phase for p in world.pods()] == ["Failed", "Running"]


@pytest.mark.parametrize("replicas", [1, 2, 3, 4, 7, 10])
def test_a_rolling_update_keeps_enough_pods_available_and_never_too_many(replicas: int) -> None:
    world = FakeCluster(LAB % 3 + deployment("web", replicas)).run()
    old = {p.name for p in world.pods()}
    world.apply(deployment("web", replicas, image="b"))
    for _ in range(100):
        world.settle()
        live = [p for p in world.pods() if not p.metadata.deletionTimestamp]
        assert len(live) <= replicas + -(-replicas // 4)
        assert sum(p.ready for p in live) >= replicas - replicas // 4
        if not {p.name for p in world.pods()} & old and sum(p.ready for p in live) == replicas:
            break
        waiting = next((p for p in live if not p.ready), None)
        world.kubelet(lambda pod, one=waiting: pod.ready or pod.name == (one.name if one else ""))  # type: ignore[misc]
    assert not {p.name for p in world.pods()} & old
    assert {p.spec.containers[0].image for p in world.pods()} == {"b"}
    sets = list(world.snapshot.all(ReplicaSet).values())
    assert sorted(rs.spec.replicas for rs in sets) == [0, replicas]
    assert [rs.metadata.annotations["deployment.kubernetes.io/revision"] for rs in sets] == ["1", "2"]


def test_a_replica_set_has_its_deployments_annotations_but_not_how_that_came_here() -> None:
    world = FakeCluster(LAB % 1 + deployment("web", 1)).run()
    (web,) = world.snapshot.all(Deployment).values()
    note = {**web.metadata.annotations, "kubernetes.io/change-cause": "why", "k8snetlab/up": "yes", SOURCE: "f.yaml:1"}
    world.store(replace(web, metadata=replace(web.metadata, annotations=note)))
    world.run()
    (held,) = world.snapshot.all(ReplicaSet).values()
    assert held.metadata.annotations["kubernetes.io/change-cause"] == "why"
    assert not [key for key in held.metadata.annotations if key.startswith("k8snetlab/")]


def test_an_update_that_never_becomes_ready_leaves_the_old_pods_serving() -> None:
    world = FakeCluster(LAB % 2 + deployment("web", 4)).run()
    world.apply(deployment("web", 4, image="broken")).run(lambda pod: pod.spec.containers[0].image == "a")
    assert sum(p.ready for p in world.pods()) == 3
    world.apply(deployment("web", 4)).run()
    assert {p.spec.containers[0].image for p in world.pods()} == {"a"} and len(world.pods()) == 4
    revisions = {
        rs.metadata.annotations["deployment.kubernetes.io/revision"] for rs in world.snapshot.all(ReplicaSet).values()
    }
    assert revisions == {"2", "3"}


def with_strategy(manifest: str, strategy: str) -> str:
    return manifest.replace("spec:\n", f"spec:\n  strategy: {strategy}\n", 1)


@pytest.mark.parametrize(
    ("strategy", "most", "least"),
    [
        ("{rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}", 10, 9),
        ("{rollingUpdate: {maxSurge: 3, maxUnavailable: 0}}", 13, 10),
        ('{rollingUpdate: {maxSurge: "100%", maxUnavailable: "50%"}}', 15, 5),
        ('{rollingUpdate: {maxSurge: "15%"}}', 12, 8),
        ("{type: RollingUpdate}", 13, 8),
        ("{type: Recreate}", 10, 0),
    ],
)
def test_a_rollout_keeps_to_its_strategy_and_uses_all_of_it(strategy: str, most: int, least: int) -> None:
    world = FakeCluster(LAB % 3 + with_strategy(deployment("web", 10), strategy)).run()
    world.apply(with_strategy(deployment("web", 10, image="b"), strategy))
    alive, ready, mixed = [], [], False
    for _ in range(100):
        world.settle()
        live = [p for p in world.pods() if not p.metadata.deletionTimestamp]
        alive.append(len(live))
        ready.append(sum(p.ready for p in live))
        mixed |= len({p.spec.containers[0].image for p in world.pods()}) > 1
        waiting = next((p for p in live if not p.ready), None)
        world.kubelet(lambda pod, one=waiting: pod.ready or pod.name == (one.name if one else ""))  # type: ignore[misc]
    assert (max(alive), min(ready)) == (most, least)
    assert {p.spec.containers[0].image for p in world.pods()} == {"b"} and ready[-1] == 10
    assert mixed is ("Recreate" not in strategy)


DOCUMENTED = "{rollingUpdate: {maxSurge: 3, maxUnavailable: 2}}"
"""Of the page on Deployments, "Proportional scaling"."""


def sizes(world: FakeCluster) -> dict[str, int]:
    return {
        rs.spec.template.spec.containers[0].image: rs.spec.replicas for rs in world.snapshot.all(ReplicaSet).values()
    }


def in_mid_rollout(paused: bool = False) -> FakeCluster:
    world = FakeCluster(LAB % 3 + with_strategy(deployment("web", 10), DOCUMENTED)).run()
    world.apply(with_strategy(deployment("web", 10, image="b"), DOCUMENTED))
    world.run(lambda pod: pod.spec.containers[0].image == "a")
    if paused:
        (web,) = world.snapshot.all(Deployment).values()
        world.store(replace(web, spec=replace(web.spec, paused=True)))
        world.settle()
    assert sizes(world) == {"a": 8, "b": 5}
    return world


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize(
    ("replicas", "expected"),
    [(15, {"a": 11, "b": 7}), (20, {"a": 14, "b": 9}), (5, {"a": 5, "b": 3}), (0, {"a": 0, "b": 0})],
)
def test_a_deployment_scaled_in_mid_rollout_grows_in_proportion(
    paused: bool, replicas: int, expected: dict[str, int]
) -> None:
    world = in_mid_rollout(paused)
    (web,) = world.snapshot.all(Deployment).values()
    world.store(replace(web, spec=replace(web.spec, replicas=replicas)))
    world.settle()
    said = {"deployment.kubernetes.io/desired-replicas": str(replicas)}
    said["deployment.kubernetes.io/max-replicas"] = str(replicas + 3)
    for rs in world.snapshot.all(ReplicaSet).values():
        assert said.items() <= rs.metadata.annotations.items()
    if not paused and replicas == 5:
        expected = {"a": 3, "b": 5}  # the rollout has gone on: of the old ones as many as must be available
    assert sizes(world) == expected


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [(1, "25%", "25%", (1, 0)), (4, "25%", "25%", (1, 1)), (3, "0%", "25%", (0, 1)), (10, 2, "33%", (2, 3))],
)
def test_percentages_are_rounded_as_kubernetes_rounds_them(
    replicas: int, surge: int | str, unavailable: int | str, expected: tuple[int, int]
) -> None:
    roll = RollingUpdate(maxSurge=surge, maxUnavailable=unavailable)
    assert fenceposts(DeploymentSpec(replicas=replicas, strategy=Strategy(rollingUpdate=roll))) == expected


REPLICA_SET = """---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}, matchExpressions: [{key: tier, operator: NotIn, values: [db]}]}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c}]}}
"""
ORPHAN = "---\n{apiVersion: v1, kind: Pod, metadata: {name: %s, labels: {app: %s}}, spec: {containers: [{name: c}]}}\n"


def owner(pod: Pod) -> str:
    return next((one.name for one in pod.metadata.ownerReferences if one.controller), "")


@pytest.mark.parametrize("before", [True, False], ids=["pods-first", "set-first"])
def test_a_replica_set_adopts_the_pods_that_fit_it_and_belong_to_nobody(before: bool) -> None:
    fitting, other = ORPHAN % ("mine", "web"), ORPHAN % ("other", "shop")
    world = FakeCluster(LAB % 2 + (fitting + other if before else "")).run()
    world.apply(REPLICA_SET).run()
    if not before:
        world.apply(fitting + other).run()
    assert {p.name: owner(p) for p in world.pods() if p.name in ("mine", "other")}.get("other") == ""
    mine = world.pods("mine")
    assert [owner(p) for p in mine] == (["web"] if before else [])  # one too many: the youngest of three goes
    assert sum(owner(p) == "web" for p in world.pods()) == 2


def test_a_pod_whose_label_is_changed_is_let_go_and_another_takes_its_place() -> None:
    world = FakeCluster(LAB % 2 + REPLICA_SET).run()
    pod = world.pods()[0]
    world.store(replace(pod, metadata=replace(pod.metadata, labels={"app": "web", "tier": "db"})))
    world.run()
    assert [owner(p) for p in world.pods() if p.name == pod.name] == [""]
    assert sum(owner(p) == "web" for p in world.pods()) == 2
    freed = next(p for p in world.pods() if p.name == pod.name)
    world.store(replace(freed, metadata=replace(freed.metadata, labels={"app": "web"})))
    world.run()
    assert len(world.pods()) == 2 and all(owner(p) == "web" for p in world.pods())


def test_of_two_sets_that_both_fit_a_pod_one_gets_it() -> None:
    world = FakeCluster(LAB % 2 + ORPHAN % ("mine", "web")).run()
    world.apply(REPLICA_SET + REPLICA_SET.replace("name: web}", "name: two}", 1)).run()
    assert sorted(map(owner, world.pods())) == ["two", "two", "web", "web"]


def test_old_replica_sets_are_kept_up_to_ten() -> None:
    world = FakeCluster(LAB % 1 + deployment("web", 1)).run()
    for number in range(14):
        world.apply(deployment("web", 1, image=f"v{number}")).run()
    assert len(world.snapshot.all(ReplicaSet)) == 11


# --- scheduler ---


def test_pods_are_spread_by_owner_first() -> None:
    world = FakeCluster(LAB % 3 + deployment("a", 4) + deployment("b", 2)).run()
    nodes = [p.spec.nodeName for p in world.pods("a-")]
    assert nodes == ["node1", "node2", "node3", "node1"]
    assert [p.spec.nodeName for p in world.pods("b-")] == ["node2", "node3"]


POD = "---\n{apiVersion: v1, kind: Pod, metadata: {name: %s}, spec: {%s containers: [{name: a}]}}\n"


def test_a_pod_that_fits_nowhere_waits_and_says_why() -> None:
    world = FakeCluster(
        LAB % "[{name: a, labels: {disk: ssd}}, {name: b}]" + POD % ("p", "nodeSelector: {disk: hdd},")
    ).run()
    (pod,) = world.pods()
    assert pod.status.message == (
        "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, "
        "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )
    node = world.snapshot.all(Node)[("", "b")]
    world.store(replace(node, metadata=replace(node.metadata, labels={"disk": "hdd"})))
    world.run()
    (pod,) = world.pods()
    assert (pod.spec.nodeName, pod.status.message) == ("b", "")


def test_cordoned_nodes_get_no_pods() -> None:
    world = FakeCluster(LAB % 2).run()
    node = world.snapshot.all(Node)[("", "node1")]
    world.store(replace(node, spec=replace(node.spec, unschedulable=True)))
    world.apply(deployment("web", 3)).run()
    assert {p.spec.nodeName for p in world.pods()} == {"node2"}


# --- addresses ---


def test_addresses_go_round_and_are_not_given_again_at_once() -> None:
    world = FakeCluster(LAB % "[{name: a, podCIDR: 10.244.9.0/29}]" + POD % ("p1", "") + POD % ("p2", "")).run()
    assert [p.ips for p in world.pods()] == [("10.244.9.2",), ("10.244.9.3",)]
    world.delete(world.pods()[0])
    world.run().apply(POD % ("p3", "")).run()
    assert world.pods("p3")[0].ips == ("10.244.9.4",)
    world.apply(POD % ("p4", "") + POD % ("p5", "") + POD % ("p6", "")).run()
    assert [p.ips for p in world.pods()[2:4]] == [("10.244.9.5",), ("10.244.9.6",)]
    assert world.pods("p6")[0].ips == ("10.244.9.2",)
    assert world.snapshot.all(Node)[("", "a")].metadata.annotations[LAST_RESERVED] == "10.244.9.2"


def test_a_full_subnet_leaves_pods_pending_until_one_goes() -> None:
    pods = "".join(POD % (f"p{n}", "") for n in range(6))
    world = FakeCluster(LAB % "[{name: a, podCIDR: 10.244.9.0/29}]" + pods).run()
    last = world.pods()[-1]
    assert (last.ips, last.status.phase) == ((), "Pending")
    assert last.status.message == "no free address in 10.244.9.0/29"
    (note,) = (n for w in world.history for n in w.notes if n.reason == "FailedCreatePodSandBox")
    assert (note.type, note.object.name) == ("Warning", last.name)
    assert note.message == "Failed to create pod sandbox: no free address in 10.244.9.0/29"
    world.delete(world.pods()[2])
    world.settle()
    assert world.pods()[-1].ips == ()
    world.run()
    assert world.pods()[-1].ips == ("10.244.9.4",)
    assert world.pods()[-1].status.message == ""


@pytest.mark.parametrize(
    ("kept", "given"),
    [
        ("10.244.9.2-10.244.9.5", "10.244.9.6"),
        ("10.244.9.6,10.244.9.2-10.244.9.4", "10.244.9.5"),
        ("10.244.9.2-10.244.9.6", ""),
        ("::-ffff::,10.244.9.9-10.244.9.1,nonsense", "10.244.9.2"),
        ("0.0.0.0-255.255.255.255", ""),
    ],
)
def test_what_is_reserved_is_given_to_no_pod_until_it_is_free_again(kept: str, given: str) -> None:
    world = FakeCluster(LAB % "[{name: a, podCIDR: 10.244.9.0/29}]").run()
    node = world.snapshot.all(Node)[("", "a")]
    world.store(replace(node, metadata=replace(node.metadata, annotations={RESERVED: kept})))
    world.apply(POD % ("p", "")).run()
    assert world.pods()[0].status.podIP == given
    node = world.snapshot.all(Node)[("", "a")]
    others = {key: value for key, value in node.metadata.annotations.items() if key != RESERVED}
    world.store(replace(node, metadata=replace(node.metadata, annotations=others)))
    world.run()
    assert world.pods()[0].status.podIP == (given or "10.244.9.2")


def test_pods_of_the_host_network_have_the_nodes_address() -> None:
    world = FakeCluster(LAB % 1 + POD % ("p", "hostNetwork: true,")).run()
    assert world.pods()[0].ips == ("192.168.0.21",)
    assert LAST_RESERVED not in world.snapshot.all(Node)[("", "node1")].metadata.annotations


def test_pods_move_with_their_nodes_subnet() -> None:
    world = FakeCluster(LAB % "[{name: a}]" + POD % ("p", "")).run()
    world.apply(LAB % "[{name: a, podCIDR: 10.244.77.0/24}]").run()
    assert world.pods()[0].ips == ("10.244.77.2",)


# --- what goes with its owner ---


def test_deleting_a_deployment_takes_everything_it_made() -> None:
    world = FakeCluster(LAB % 2 + deployment("web") + service("web") + deployment("other", 1)).run()
    world.delete(world.snapshot.all(Deployment)[("default", "web")])
    world.settle()
    assert all(p.metadata.deletionTimestamp for p in world.pods("web"))
    world.run()
    assert world.pods("web") == [] and len(world.pods("other")) == 1
    assert len(world.snapshot.all(ReplicaSet)) == 1
    world.delete(world.snapshot.all(Service)[("default", "web")])
    world.run()
    assert not world.snapshot.all(EndpointSlice) and not world.snapshot.all(Endpoints)


def test_what_was_orphaned_while_nobody_looked_goes_too() -> None:
    world = FakeCluster(LAB % 2 + deployment("web") + service("web")).run()
    for type_ in (Deployment, Service):
        world.delete(next(iter(world.snapshot.all(type_).values())))
    world.previous = None
    world.run()
    assert world.pods() == [] and not world.snapshot.all(EndpointSlice) and not world.snapshot.all(Endpoints)


def test_pods_of_a_node_that_left_the_lab_are_replaced_elsewhere() -> None:
    world = FakeCluster(LAB % "[{name: a}, {name: b}]" + deployment("web", 4)).run()
    world.apply(LAB % "[{name: a}]").run()
    assert [p.spec.nodeName for p in world.pods()] == ["a"] * 4
    forced = [w for w in world.history if w.action == "delete" and isinstance(w.object, Pod)]
    assert len(forced) == 2 and all(w.force for w in forced)


def test_nothing_changes_when_nothing_changed() -> None:
    world = FakeCluster(LAB % 2 + deployment("web") + service("web")).run()
    assert reconcile(world.snapshot, world.snapshot) == []
    plain = Snapshot(
        world.snapshot.revision, {t: dict(o) for t, o in world.snapshot.objects.items()}, world.snapshot.reports
    )
    assert reconcile(plain, None) == [] == reconcile(plain, world.snapshot)
