"""The scheduler's filters and words, and what a node's kubelet does not take."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from k8snetlab.api.core import Node, Pod, Taint
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
    """What is said of the nodes, without what preemption would do."""
    found = world.pods(name)[0]
    (condition,) = [c for c in found.status.conditions if c.type == "PodScheduled"]
    assert (condition.status, condition.reason) == ("False", "Unschedulable")
    assert condition.message == found.status.message
    return condition.message.partition(" no new claims to deallocate, preemption: ")[0]


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
            "node-controller",
            "Normal",
            "RegisteredNode",
            "Node",
            "Node node1 event: Registered Node node1 in Controller",
        ),
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
        (
            "default-scheduler",
            "Warning",
            "FailedScheduling",
            "Pod",
            f"0/1 nodes are available: 1 {NO_PORTS}. no new claims to deallocate, preemption: 0/1 nodes are available: "
            "1 No preemption victims found for incoming pod.",
        ),
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


# --- requests, company, preferences, priority ---


def asking(name: str, requests: str, spec: str = "", labels: str = "") -> str:
    container = f"{{name: c, command: [sleep], resources: {{requests: {{{requests}}}}}}}"
    metadata = f"{{name: {name}, labels: {{{labels}}}}}"
    return f"---\napiVersion: v1\nkind: Pod\nmetadata: {metadata}\nspec: {{{spec} containers: [{container}]}}\n"


def with_room(manifests: str, nodes: int = 2, **resources: str) -> FakeCluster:
    """A cluster whose nodes have just so much."""
    world = FakeCluster(LAB % nodes).settle()
    for node in list(world.snapshot.all(Node).values()):
        status = replace(node.status, allocatable={**node.status.allocatable, **resources})
        world.store(replace(node, status=status))
    return world.apply(manifests).run()


def whole(world: FakeCluster, name: str) -> str:
    return world.pods(name)[0].status.message


def test_a_pod_that_asks_for_more_than_is_left_waits_in_the_schedulers_words() -> None:
    world = with_room(asking("a", "cpu: 1500m") + asking("b", "cpu: '1'") + asking("c", "cpu: 600m"), cpu="2")
    assert nodes_of(world) == {"a": "node1", "b": "node2", "c": "node2"}
    world.apply(asking("d", "cpu: 0.5, memory: 1Gi")).run()
    assert whole(world, "d") == (
        "0/2 nodes are available: 1 Insufficient cpu, 2 Insufficient memory. no new claims to deallocate, preemption: "
        "0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )
    world.apply(asking("e", "cpu: 1")).run()
    assert whole(world, "e").endswith(
        "preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
    )
    world.delete(world.pods("a")[0], force=True)
    assert nodes_of(world.run())["e"] == "node1"


def test_nodes_that_have_not_said_what_they_have_take_any_request() -> None:
    """As where `render -f` shows what a node would get: no kubelet has looked."""
    assert nodes_of(FakeCluster(LAB % 1 + asking("a", "cpu: 1000, memory: 9Ti")).run()) == {"a": "node1"}


def test_a_sidecar_counts_and_an_init_container_does_while_it_asks_for_more() -> None:
    init = "{name: s, restartPolicy: Always, command: [x], resources: {requests: {cpu: 300m}}}"
    world = with_room(asking("a", "cpu: 500m", f"initContainers: [{init}],"), nodes=1, cpu="1")
    world.apply(asking("b", "cpu: 201m") + asking("c", "cpu: 200m")).run()
    assert nodes_of(world) == {"a": "node1", "b": "", "c": "node1"}


def test_what_was_bound_by_name_and_asks_for_too_much_is_rejected() -> None:
    world = with_room(asking("a", "cpu: 3", "nodeName: node1,"), cpu="2")
    (pod_,) = world.pods("a")
    assert (pod_.status.phase, pod_.status.reason) == ("Failed", "OutOfcpu")
    assert pod_.status.message == (
        "Pod was rejected: Node didn't have enough resource: cpu, requested: 3000, used: 0, capacity: 2000"
    )


ZONES = "[{name: node1, labels: {zone: a}}, {name: node2, labels: {zone: a}}, {name: node3, labels: {zone: b}}]"


def near(kind: str, app: str, key: str = "zone", more: str = "") -> str:
    term = f"{{topologyKey: {key}, labelSelector: {{matchLabels: {{app: {app}}}}}{more}}}"
    return f"affinity: {{{kind}: {{requiredDuringSchedulingIgnoredDuringExecution: [{term}]}}}},"


def test_pods_that_must_be_near_each_other_wait_for_the_first_and_come_to_its_place() -> None:
    friend = asking("friend", "", near("podAffinity", "db"), "app: web")
    world = FakeCluster(LAB % ZONES + friend).run()
    assert why(world, "friend") == "0/3 nodes are available: 3 node(s) didn't match pod affinity rules."
    world.apply(asking("db", "", "nodeSelector: {zone: b},", "app: db")).run()
    assert nodes_of(world) == {"friend": "node3", "db": "node3"}
    alone = asking("group", "", near("podAffinity", "group"), "app: group")
    assert nodes_of(world.apply(alone).run())["group"]  # the first of its own group waits for nobody
    other = "---\n{apiVersion: v1, kind: Namespace, metadata: {name: other, labels: {team: x}}}\n"
    far = asking("far", "", near("podAffinity", "db"), "app: web").replace("{name: far", "{namespace: other, name: far")
    assert why(world.apply(other + far).run(), "far").endswith("3 node(s) didn't match pod affinity rules.")
    named = near("podAffinity", "db", more=", namespaces: [default]")
    named = asking("named", "", named).replace("{name: named", "{namespace: other, name: named")
    assert nodes_of(world.apply(named).run())["named"] == "node3"


def test_pods_that_must_not_be_near_keep_others_away_too() -> None:
    one = near("podAntiAffinity", "web", "kubernetes.io/hostname")
    world = FakeCluster(LAB % ZONES + "".join(asking(f"w{n}", "", one, "app: web") for n in range(4))).run()
    assert sorted(nodes_of(world).values()) == ["", "node1", "node2", "node3"]
    waits = next(p for p in world.pods() if not p.spec.nodeName)
    assert why(world, waits.name) == "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."
    world.apply(asking("guest", "", "", "app: web")).run()
    assert why(world, "guest") == "0/3 nodes are available: 3 node(s) didn't satisfy existing pods anti-affinity rules."
    assert nodes_of(world.apply(asking("stranger", "", "", "app: x")).run())["stranger"]


def spread(skew: int, key: str, when: str = "DoNotSchedule", more: str = "") -> str:
    selector = "labelSelector: {matchLabels: {app: web}}"
    constraint = f"{{maxSkew: {skew}, topologyKey: {key}, whenUnsatisfiable: {when}, {selector}{more}}}"
    return f"topologySpreadConstraints: [{constraint}],"


def test_pods_are_spread_over_zones_and_wait_where_they_cannot_be() -> None:
    pods = "".join(asking(f"w{n}", "", spread(1, "zone"), "app: web") for n in range(4))
    world = FakeCluster(LAB % ZONES + pods).run()
    zones = ["b" if node == "node3" else "a" for node in nodes_of(world).values()]
    assert sorted(zones) == ["a", "a", "b", "b"]
    cordoned = world.snapshot.node("node3")
    world.store(replace(cordoned, spec=replace(cordoned.spec, unschedulable=True)))
    world.apply(asking("w5", "", spread(1, "zone"), "app: web") + asking("w6", "", spread(1, "zone"), "app: web")).run()
    (waits,) = [p for p in world.pods() if not p.spec.nodeName]
    assert why(world, waits.name) == (
        "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) didn't match pod topology spread constraints."
    )
    world.apply(asking("x", "", spread(1, "rack"), "app: web")).run()
    assert "2 node(s) didn't match pod topology spread constraints (missing required label)" in why(world, "x")
    many = asking("many", "", spread(1, "zone", more=", minDomains: 3"), "app: web")
    assert "topology spread constraints." in why(world.apply(many).run(), "many")


@pytest.mark.parametrize(
    ("spec", "node"),
    [
        (
            "affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: "
            "{matchExpressions: [{key: zone, operator: In, values: [b]}]}}]}},",
            "node3",
        ),
        (
            "affinity: {podAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 5, podAffinityTerm: "
            "{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: web}}}}]}},",
            "node2",
        ),
        (
            "affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 5, "
            "podAffinityTerm: {topologyKey: zone, labelSelector: {matchLabels: {app: web}}}}]}},",
            "node3",
        ),
        (spread(1, "zone", "ScheduleAnyway"), "node3"),
    ],
)
def test_the_best_node_is_the_one_that_is_preferred(spec: str, node: str) -> None:
    world = FakeCluster(LAB % ZONES + asking("w", "", "nodeName: node2,", "app: web")).run()
    assert nodes_of(world.apply(asking("p", "", spec, "app: web")).run())["p"] == node


def test_a_node_outside_the_topology_is_no_better_than_a_full_one() -> None:
    world = FakeCluster(LAB % ZONES.replace("{name: node2, labels: {zone: a}}", "{name: node2}"))
    world.apply(asking("w", "", "nodeName: node1,", "app: web") + asking("x", "", "nodeName: node3,", "app: web")).run()
    world.apply(asking("z", "", "nodeName: node3,", "app: web")).run()
    world.apply(asking("p", "", spread(1, "zone", "ScheduleAnyway"), "app: web")).run()
    assert nodes_of(world)["p"] == "node1"


def test_a_taint_that_is_not_preferred_is_avoided_while_there_is_another_node() -> None:
    world = FakeCluster(LAB % 2).settle()
    node = world.snapshot.node("node1")
    taint = Taint(key="old", effect="PreferNoSchedule")
    world.store(replace(node, spec=replace(node.spec, taints=(taint,))))
    world.apply("".join(asking(f"p{n}", "") for n in range(3))).run()
    assert set(nodes_of(world).values()) == {"node2"}


def test_what_another_scheduler_is_to_bind_is_left_to_it() -> None:
    world = FakeCluster(LAB % 1 + asking("mine", "", "schedulerName: mine,")).run()
    (pod_,) = world.pods()
    assert not pod_.spec.nodeName and not pod_.status.conditions and not pod_.status.message


def ranked(name: str, value: int) -> str:
    kind = "{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass"
    return f"---\n{kind}, metadata: {{name: {name}}}, value: {value}}}\n"


PAIR = (0, "low"), (1, "below")
CLASSES = ranked("high", 1000) + ranked("middle", 500) + ranked("low", 1)


def test_the_more_important_pod_comes_first_and_drives_the_least_important_away() -> None:
    held = asking("low", "cpu: 1", "priorityClassName: low,") + asking("middle", "cpu: 1", "priorityClassName: middle,")
    world = with_room(CLASSES + held, nodes=2, cpu="1")
    world.apply(asking("high", "cpu: 1", "priorityClassName: high,")).settle()
    high, low = world.pods("high")[0], world.pods("low")[0]
    assert high.status.nominatedNodeName == low.spec.nodeName and low.metadata.deletionTimestamp
    assert high.status.message == "0/2 nodes are available: 2 Insufficient cpu."
    notes = [note for write in world.history for note in write.notes if note.reason == "Preempted"]
    assert [note.message for note in notes] == [f"Preempted by pod {high.metadata.uid} on node {low.spec.nodeName}"]
    world.run()
    assert nodes_of(world)["high"] == low.spec.nodeName and set(nodes_of(world)) == {"high", "middle"}
    assert world.pods("high")[0].status.nominatedNodeName == ""


def test_of_equally_important_victims_the_fewest_go() -> None:
    """As pickOneNodeForPreemption: each victim more costs more, however unimportant it is."""
    below = ranked("below", -10)
    two = "".join(asking(f"a{n}", "cpu: 500m", f"nodeName: node1, priorityClassName: {c},") for n, c in PAIR)
    one = asking("b", "cpu: 1", "nodeName: node2, priorityClassName: low,")
    world = with_room(CLASSES + below + two + one, nodes=2, cpu="1")
    world.apply(asking("high", "cpu: 1", "priorityClassName: high,")).run()
    assert nodes_of(world) == {"a0": "node1", "a1": "node1", "high": "node2"}


def test_two_important_pods_of_one_pass_do_not_count_on_the_same_victim() -> None:
    low = "".join(asking(f"low{n}", "cpu: 1", "priorityClassName: low,") for n in range(2))
    world = with_room(CLASSES + low, nodes=2, cpu="1")
    high = "".join(asking(f"high{n}", "cpu: 1", "priorityClassName: high,") for n in range(2))
    world.apply(high).settle()
    assert {pod_.status.nominatedNodeName for pod_ in world.pods("high")} == {"node1", "node2"}
    notes = [note for write in world.history for note in write.notes if note.reason == "Preempted"]
    assert len(notes) == 2 and {note.object.key for note in notes} == {pod_.key for pod_ in world.pods("low")}
    world.run()
    assert set(nodes_of(world).values()) == {"node1", "node2"} and {p.name for p in world.pods()} == {"high0", "high1"}


def test_room_that_was_made_for_a_pod_is_kept_from_less_important_ones() -> None:
    world = with_room(CLASSES + asking("low", "cpu: 500m", "priorityClassName: low,"), nodes=1, cpu="1")
    world.apply(asking("high", "cpu: 1", "priorityClassName: high,")).settle()
    assert world.pods("low")[0].metadata.deletionTimestamp  # it has not ended yet, and half of the node is free
    world.apply(asking("again", "cpu: 500m", "priorityClassName: low,")).settle()
    assert nodes_of(world)["again"] == "" and "Insufficient cpu" in why(world, "again")
    assert nodes_of(world.run()) == {"high": "node1", "again": ""}
    assert not [note for write in world.history for note in write.notes if note.message.startswith("Preempted by")][1:]


def test_a_pod_that_never_preempts_and_one_that_finds_no_victims_say_so() -> None:
    world = with_room(CLASSES + asking("low", "cpu: 1", "priorityClassName: low,"), nodes=1, cpu="1")
    never = (
        CLASSES.split("---")[1].replace("name: high", "name: meek").replace("value", "preemptionPolicy: Never, value")
    )
    world.apply(f"---{never}" + asking("meek", "cpu: 1", "priorityClassName: meek,")).run()
    assert whole(world, "meek").endswith("preemption: not eligible due to preemptionPolicy=Never.")
    assert world.pods("low")[0].spec.nodeName == "node1"


def test_pods_that_no_one_needs_to_go_are_spared() -> None:
    small = "".join(asking(f"s{n}", "cpu: 400m", "priorityClassName: low,") for n in range(2))
    world = with_room(CLASSES + small, nodes=1, cpu="1")
    world.apply(asking("high", "cpu: 500m", "priorityClassName: high,")).run()
    assert len([p for p in world.pods("s") if p.spec.nodeName]) == 1 and nodes_of(world)["high"] == "node1"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (near("podAffinity", "a", "''"), "topologyKey: Required value: can not be empty"),
        (near("podAffinity", "a", more=", namespaces: [A_]"), "namespaces[0]"),
        (spread(0, "zone"), "maxSkew: Invalid value: 0: must be greater than 0"),
        (spread(1, "zone", "Sometimes"), "whenUnsatisfiable: Unsupported value"),
        (spread(1, "zone", "ScheduleAnyway", ", minDomains: 2"), "can only use minDomains if whenUnsatisfiable"),
        (
            "affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: "
            "[{weight: 0, preference: {}}]}},",
            "weight: Invalid value: 0: must be in the range 1-100",
        ),
    ],
)
def test_wrong_wishes_are_refused_with_their_field(spec: str, message: str) -> None:
    with pytest.raises(ManifestError) as error:
        load([("f.yaml", asking("p", "", spec))])
    assert message in str(error.value)
