"""What a lab's own control plane is made of: its nodes, its programs, and what is refused."""

from __future__ import annotations

import pytest

from k8snetlab.addons import plane as programs
from k8snetlab.api import plane
from k8snetlab.api.core import Node
from k8snetlab.api.defaults import expand
from k8snetlab.api.load import load
from k8snetlab.checkup.programs import needed
from k8snetlab.dataplane.names import ROUTER
from k8snetlab.errors import ManifestError, UnsupportedError
from k8snetlab.testing.fake_cluster import FakeCluster

LAB = "{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: l}, spec: {nodes: 2, %s}}\n"
THREE = LAB % "controlPlane: {replicas: 3, etcd: 3}"


def test_its_nodes_have_addresses_of_their_own_a_role_and_a_taint() -> None:
    world = FakeCluster(THREE).settle()
    nodes = world.snapshot.all(Node).values()
    assert {node.name: node.addresses for node in nodes} == {
        "node1": ("192.168.0.21",),
        "node2": ("192.168.0.22",),
        "control-plane1": ("192.168.0.11",),
        "control-plane2": ("192.168.0.12",),
        "control-plane3": ("192.168.0.13",),
    }
    own = [node for node in nodes if plane.ROLE in node.metadata.labels]
    assert [node.name for node in own] == ["control-plane1", "control-plane2", "control-plane3"]
    assert {(taint.key, taint.effect) for node in own for taint in node.spec.taints} == {(plane.ROLE, "NoSchedule")}
    assert len({node.metadata.uid for node in own}) == 3
    again = FakeCluster("{apiVersion: v1, kind: Namespace, metadata: {name: first}}\n---\n" + THREE)
    again.settle()
    assert [again.snapshot.node(node.name).metadata.uid for node in own] == [node.metadata.uid for node in own]


def test_defaults_twice_are_defaults_once() -> None:
    lab = FakeCluster(THREE).settle().snapshot.lab
    assert expand(lab.spec) == lab.spec and len(plane.seats(lab)) == 3


def test_each_node_has_its_member_and_its_server_and_the_router_the_balancer() -> None:
    snapshot = FakeCluster(THREE).settle().snapshot
    names = {
        node: [one.name for one in programs.programs(snapshot, node)] for node in ("control-plane2", "node1", ROUTER)
    }
    own = ["etcd-2", "apiserver-2", "kube-scheduler-2", "kube-controller-manager-2"]
    assert names == {"control-plane2": own, "node1": [], ROUTER: ["haproxy"]}
    (etcd, server, *components) = programs.programs(snapshot, "control-plane2")
    members = ",".join(f"etcd-{n}=https://192.168.0.1{n}:2380" for n in (1, 2, 3))
    assert {f"--initial-cluster={members}", "--client-cert-auth=true", "--peer-client-cert-auth=true"} <= {*etcd.argv}
    assert "192.168.0.1,10.96.0.1" in server.argv and all(one.spare for one in (etcd, server, *components))
    nearest = ",".join(f"https://192.168.0.1{n}:2379" for n in (2, 3, 1))
    assert all(nearest in one.argv for one in (server, *components)), "its own node's member comes first"
    (balancer,) = programs.programs(snapshot, ROUTER)
    text = balancer.files["haproxy.cfg"]
    assert "bind 192.168.0.1:6443" in text and "server apiserver-3 192.168.0.13:6443 check" in text


def test_fewer_servers_than_members_have_the_first_nodes() -> None:
    snapshot = FakeCluster(LAB % "controlPlane: {replicas: 1, etcd: 3}").settle().snapshot
    assert [[one.name for one in programs.programs(snapshot, f"control-plane{n}")] for n in (1, 2, 3)] == [
        ["etcd-1", "apiserver-1", "kube-scheduler-1", "kube-controller-manager-1"],
        ["etcd-2"],
        ["etcd-3"],
    ]
    assert not any(one.spare for one in programs.programs(snapshot, "control-plane1") if one.name == "apiserver-1")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("controlPlane: {replicas: 3}", "spec.controlPlane.etcd: API servers share an etcd"),
        ("controlPlane: {etcd: 3}", "spec.controlPlane.replicas: API servers share an etcd"),
        ("controlPlane: {replicas: 2, etcd: 2}", "2 members survive no more losses than 1 do; say 1, 3 or 5"),
        ("controlPlane: {replicas: 3, etcd: 7}", "spec.controlPlane.etcd"),
        ("controlPlane: {replicas: -1, etcd: 3}", "spec.controlPlane.replicas"),
        ("controlPlane: {replicas: many, etcd: 3}", "spec.controlPlane.replicas"),
        ("controlPlane: {nodeMonitorGracePeriod: 0}", "spec.controlPlane.nodeMonitorGracePeriod"),
        (
            "controlPlane: {replicas: 1, etcd: 1}, store: {type: etcd, endpoints: ['https://10.0.0.1:2379']}",
            "spec.store",
        ),
        ("controlPlane: {replicas: 1, etcd: 1}, underlay: {cidr: 'fd00::/64'}", "reached by IPv4"),
    ],
)
def test_what_is_no_control_plane_is_refused_with_its_field(spec: str, said: str) -> None:
    with pytest.raises(ManifestError) as refused:
        load([("lab.yaml", LAB % spec)])
    assert said in str(refused.value)


def test_a_program_that_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None if name == "haproxy" else f"/usr/bin/{name}")
    with pytest.raises(UnsupportedError) as refused:
        needed(FakeCluster(THREE).settle().snapshot.lab)
    assert (
        "spec.controlPlane needs haproxy" in refused.value.message and refused.value.hint == "apt-get install haproxy"
    )
