"""Near misses are suggested wherever a name is looked up, and messages are whole sentences."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from k8snetlab.api.core import Pod, Service, ServicePort, ServiceSpec
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster import nearby
from k8snetlab.errors import K8sNetLabError
from k8snetlab.explain.places import find_place
from k8snetlab.explain.targets import find_targets
from k8snetlab.lab.written import unscheduled
from k8snetlab.testing import fake_cluster
from k8snetlab.wording import counted, near, nearest

LAB = "---\n{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: lab}, spec: {nodes: 2}}\n"
NAMESPACE = "---\n{apiVersion: v1, kind: Namespace, metadata: {name: other}}\n"
POD = """---
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: %s}
spec: {%s containers: [{name: c, ports: [{containerPort: 8080}]}]}
"""
OBJECTS = (
    LAB
    + NAMESPACE
    + POD % ("client", "default", "")
    + POD % ("web", "other", "")
    + POD % ("picky", "default", "nodeSelector: {disk: none},")
    + fake_cluster.deployment("business-manager", 1)
    + fake_cluster.service("business-manager")
)


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return fake_cluster.FakeCluster(OBJECTS).run().snapshot


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("cliet", "client"),
        ("CLIENT", "client"),
        ("busines", "business-manager"),
        ("bus", "business-manager"),
        ("bu", ""),
        ("", ""),
        ("zzz", ""),
        ("client" * 10_000, "client"),
    ],
)
def test_a_near_miss_is_recognised_and_a_long_one_is_not_looked_at(word: str, meant: str) -> None:
    assert near(word, ["business-manager", "client", "data-product"]) == (meant if len(word) < 100 else "")


def test_what_is_right_is_not_suggested() -> None:
    assert nearest("client", ["client"], "x") == "x"
    assert [counted(n, "path") for n in (0, 1, 2)] == ["0 paths", "1 path", "2 paths"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cliet", "did you mean client?"),
        ("nod1", "did you mean node1?"),
        ("business-manger", "did you mean business-manager?"),
        ("default/web", "web is in namespace other: -n other"),
        ("othr/web", "web is in namespace other: -n other"),
        ("othr/wbe", "there is no namespace 'othr': did you mean other?"),
        ("wbe", ""),
        ("other/wbe", "did you mean web?"),
    ],
)
def test_a_place_that_is_not_there(snapshot: Snapshot, name: str, hint: str) -> None:
    with pytest.raises(K8sNetLabError) as refused:
        find_place(snapshot, name)
    assert hint in refused.value.hint and refused.value.hint


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("bussiness-manager", "did you mean business-manager?"),
        ("svc/bussiness-manager", "did you mean business-manager?"),
        ("svc/other/business-manager", "business-manager is in namespace default: -n default"),
        ("pod/cliet", "did you mean client?"),
    ],
)
def test_a_target_that_is_not_there(snapshot: Snapshot, name: str, hint: str) -> None:
    with pytest.raises(K8sNetLabError) as refused:
        find_targets(snapshot, name, 80, "TCP")
    assert refused.value.hint == hint


def test_a_port_that_is_not_there(snapshot: Snapshot) -> None:
    service, pod = snapshot.get(Service, "business-manager", "default"), snapshot.get(Pod, "client", "default")
    assert service and pod
    address, port = service.clusterIPs[0], service.spec.ports[0].port
    assert nearby.port(snapshot, address, port, "TCP") == ""
    assert nearby.port(snapshot, address, port + 1, "TCP") == f"Service business-manager has port {port}"
    assert nearby.port(snapshot, address, port, "UDP") == f"Service business-manager has port {port}/TCP"
    assert nearby.port(snapshot, pod.ips[0], 81, "TCP") == "pod client has port 8080"
    assert nearby.port(snapshot, "10.1.2.3", 81, "TCP") == ""


def test_a_pending_pod_says_why(snapshot: Snapshot) -> None:
    pod = snapshot.get(Pod, "picky", "default")
    assert pod
    said = unscheduled(pod)
    assert "0/2 nodes are available" in said.message and "logs" not in said.hint


def test_labels_that_are_none_are_not_listed() -> None:
    from k8snetlab.api.load import load

    text = POD % ("bare", "default", "") + POD.replace("namespace: %s", "namespace: %s, labels: {app: web}") % (
        "web",
        "default",
        "",
    )
    loaded = load([("a.yaml", text + fake_cluster.service("web").replace("app: web", "app: webb"))])
    assert any("(there are app=web)" in str(warning) for warning in loaded.warnings)


def test_why_a_port_of_a_service_is_not_answered(snapshot: Snapshot) -> None:
    service = Service(
        metadata=ObjectMeta(name="alone", namespace="default"),
        spec=ServiceSpec(clusterIP="10.254.1.1", clusterIPs=("10.254.1.1",), ports=(ServicePort(port=80),)),
    )
    with_it = snapshot.changed([(Service, service.key, service)], 2)
    told = nearby.port(with_it, "10.254.1.1", 80, "TCP")
    assert told == "Service alone has no endpoints: it has no selector, and nobody wrote endpoints for it"
    named = replace(service, spec=ServiceSpec(type="ExternalName", externalName="db.example"))
    with pytest.raises(K8sNetLabError) as refused:
        find_targets(snapshot.changed([(Service, named.key, named)], 2), "svc/alone", 80, "TCP")
    assert refused.value.message == "service alone is of type ExternalName: a name, db.example, and no address"


def test_a_headless_service_is_asked_at_its_pods(snapshot: Snapshot) -> None:
    service = snapshot.get(Service, "business-manager", "default")
    assert service
    headless = replace(service, spec=replace(service.spec, clusterIP="None", clusterIPs=("None",)))
    with pytest.raises(K8sNetLabError) as refused:
        find_targets(snapshot.changed([(Service, service.key, headless)], 2), "svc/business-manager", 8080, "TCP")
    assert refused.value.hint.startswith("it is headless: its name leads to its pods; ask one: business-manager-")
    assert refused.value.hint.endswith(":8080")
