"""Validation across objects, by itself and together with what a lab has already."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from k8snetlab.api.core import (
    Container,
    Node,
    NodeAddress,
    NodeSpec,
    NodeStatus,
    Pod,
    PodSpec,
    Service,
)
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.lab import Lab
from k8snetlab.api.load import load
from k8snetlab.api.meta import Object, ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.validate import validate
from k8snetlab.api.words import show
from k8snetlab.errors import ManifestError


def objects(text: str) -> tuple[Object, ...]:
    return load([("f.yaml", text)]).objects


def warnings(text: str) -> tuple[str, ...]:
    return load([("f.yaml", text)]).warnings


def service(name: str, more: str = "", ports: str = "[{port: 80}]") -> str:
    return f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: {ports}, {more}}}\n"


POD = "---\n{apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web}}, spec: {containers: [%s]}}\n"
CONTAINER = "{name: web, ports: [{containerPort: 8080, name: http}]}"


def test_a_selector_that_finds_nothing_is_a_warning_that_shows_what_there_is() -> None:
    (warning,) = warnings(service("web", "selector: {app: wbe}") + POD % CONTAINER)
    assert warning == (
        "f.yaml:5: spec.selector: selects nothing: no Pod or Deployment in namespace default has labels app=wbe "
        "(there are app=web)"
    )


def test_a_selector_that_finds_a_pod_a_template_or_a_slice_is_fine() -> None:
    assert not warnings(service("web", "selector: {app: web}") + POD % CONTAINER)
    assert not warnings(
        service("web", "selector: {app: web}")
        + """---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web, tier: x}}, spec: {containers: [{name: a}]}}
"""
    )
    assert not warnings(
        service("web", "selector: {app: web}")
        + """---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: []
"""
    )


def test_a_target_port_that_no_pod_names_is_a_warning() -> None:
    (warning,) = warnings(service("web", "selector: {app: web}", "[{port: 80, targetPort: htpp}]") + POD % CONTAINER)
    assert warning.startswith("f.yaml:5: spec.ports[0].targetPort: no selected pod has a container port named")
    assert "names there: http" in warning


def test_a_slice_without_a_service_is_a_warning() -> None:
    text = "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a}, addressType: IPv4}"
    (warning,) = warnings(text)
    assert "belongs to no Service without the label kubernetes.io/service-name" in warning


@pytest.mark.parametrize(
    "fine",
    [
        service("a", "type: ExternalName, externalName: db.example.com", "[]"),
        service("a", "clusterIP: None", "[]"),
        service("a", "type: NodePort", "[{port: 53, name: u, protocol: UDP, nodePort: 30053}, "
                "{port: 53, name: t, nodePort: 30053}]"),
        service("a", "type: NodePort", "[{port: 53, protocol: UDP, nodePort: 30053}]")
        + service("b", "type: NodePort", "[{port: 53, nodePort: 30053}]"),
        service("a", "type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.0/8]"),
        service("a", "externalIPs: [198.51.100.7], externalTrafficPolicy: Local"),
        service("a", "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}"),
    ],
)  # fmt: skip
def test_services_that_kubernetes_accepts(fine: str) -> None:
    assert objects(fine)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (service("a.b"), "is no DNS label"),
        (service("a" * 64), "has 64 characters; at most 63"),
        (service("a", "healthCheckNodePort: 31000"), "may only be set when type is LoadBalancer"),
        (service("a", "type: NodePort, clusterIP: None"), "may not be None when type is NodePort"),
        (service("a", "clusterIPs: [10.0.0.9, 10.0.0.10]"), "takes one address, or one IPv4 and one IPv6"),
        (service("a", "clusterIP: 10.0.0.8, clusterIPs: [10.0.0.9]"), "must be the same as spec.clusterIP"),
        (service("a", "externalIPs: [169.254.0.1]"), "link-local"),
        (service("a", "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}"), "of range"),
        (
            service("a", "", "[{port: 80, targetPort: 0x1ffff}]"),
            "Invalid value: 131071: must be between 1 and 65535, inclusive",
        ),
        (service("a", "", "[{port: 80, targetPort: this-name-is-too-long}]"), "is no port name"),
        (service("a", "type: LoadBalancer, loadBalancerSourceRanges: [1.2.3.4]"), "must be a valid CIDR value"),
        (service("a", "selector: {'a b': c}"), "is no label key"),
        (service("a", "selector: {a: 'b c'}"), "is no label value"),
    ],
)
def test_services_that_it_refuses(wrong: str, said: str) -> None:
    with pytest.raises(ManifestError, match=said):
        objects(wrong)


LAB = "---\n{apiVersion: k8snetlab/v1alpha1, kind: Lab, spec: {nodes: 2, serviceCIDR: 10.96.0.0/16}}\n"


@pytest.mark.parametrize("ip", ["10.97.0.1", "10.96.0.0", "10.96.255.255", "10.96.0.1"])
def test_a_cluster_ip_must_be_one_that_the_lab_can_give(ip: str) -> None:
    with pytest.raises(ManifestError, match=r"spec.clusterIP: " + ip.replace(".", r"\.")):
        objects(LAB + service("a", f"clusterIP: {ip}"))


def test_the_first_service_address_is_that_of_kubernetes() -> None:
    assert objects(LAB + service("kubernetes", "clusterIP: 10.96.0.1"))


def test_what_exists_already_is_taken() -> None:
    existing = Snapshot.of(
        objects(LAB + service("a", "clusterIP: 10.96.0.9, type: NodePort", "[{port: 1, nodePort: 30001}]"))
    )
    new = objects(service("b", "clusterIP: 10.96.0.9, type: NodePort", "[{port: 1, nodePort: 30001}]"))
    problems = validate(new, existing)
    assert [p.message for p in problems] == [
        "30001: provided port is already allocated, to Service default/a (f.yaml:4); choose another",
        "failed to allocate IP 10.96.0.9: provided IP is already allocated, to Service default/a (f.yaml:4)",
    ]
    assert str(problems[0]).startswith("Service default/b: spec.ports[0].nodePort: ")


def test_an_object_that_takes_its_own_place_conflicts_with_nobody() -> None:
    one = objects(LAB + service("a", "clusterIP: 10.96.0.9, type: NodePort", "[{port: 1, nodePort: 30001}]"))
    assert validate(one[1:], Snapshot.of(one)) == []


def test_pods_with_one_host_port_on_one_node_are_the_nodes_matter() -> None:
    pod = """---
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec: {nodeName: node1, containers: [{name: a, ports: [{containerPort: 80, hostPort: 8080}]}]}
"""
    assert objects(LAB + pod % "a" + pod % "b")


def test_node_manifests_with_one_address() -> None:
    def node(name: str, address: str) -> Node:
        status = NodeStatus(addresses=(NodeAddress(type="InternalIP", address=address),))
        return Node(metadata=ObjectMeta(name=name), spec=NodeSpec(podCIDR="10.0.0.0/24"), status=status)

    assert validate([node("a", "10.0.0.1"), node("b", "10.0.0.2")]) == []
    (problem,) = validate([node("a", "10.0.0.1"), node("b", "10.0.0.1")])
    assert "the address of Node a too" in problem.message


def test_a_node_named_like_a_pod_in_its_namespace_is_in_nobodys_way() -> None:
    """Their namespaces have different names: tests/unit/dataplane/test_names.py."""
    pod = Pod(metadata=ObjectMeta(name="web", namespace="default"), spec=PodSpec(containers=(Container(name="c"),)))
    assert validate([Node(metadata=ObjectMeta(name="default.web")), pod]) == []


def test_a_pod_whose_namespace_would_be_no_file_name() -> None:
    pod = Pod(metadata=ObjectMeta(name="a" * 250, namespace="default"))
    assert any("names the network namespace" in p.message for p in validate([Lab(metadata=ObjectMeta(name="l")), pod]))


def test_nothing_that_can_break_out_of_a_rule_is_accepted() -> None:
    for bad in ('a"b', "a\nb", "a b", "a'b", "a;b", "a\\b", "a\n"):
        obj = Service(metadata=ObjectMeta(name=bad, namespace=bad))
        assert {p.path for p in validate([obj])} >= {("metadata", "name"), ("metadata", "namespace")}


@pytest.mark.parametrize("outside", ["203.0.113.10/32", "203.0.113.10/24,fd00:2::10/128"])
def test_the_host_outside_needs_a_router_beside_it(outside: str) -> None:
    text = "{apiVersion: k8snetlab/v1alpha1, kind: Lab, spec: {nodes: 1, underlay: {outside: '%s'}}}"
    with pytest.raises(ManifestError, match="leaves no address for the router beside it"):
        objects(text % outside)


def test_of_machines_a_lab_may_know_less_than_the_address() -> None:
    lab = "apiVersion: k8snetlab/v1alpha1\nkind: Lab\nspec: {%snodes: [{name: node1}, {name: node2}]}\n"
    (machines,) = (obj for obj in objects(lab % "machines: true, ") if isinstance(obj, Lab))
    assert isinstance(machines.spec.nodes, tuple) and [node.address for node in machines.spec.nodes] == ["", ""]
    with pytest.raises(ManifestError, match="no address is left"):
        objects(lab % "underlay: {cidr: 192.168.0.0/30}, ")


def test_of_what_is_right_by_itself_only_what_others_tell_is_looked_at() -> None:
    """So it is when a daemon has what the command line has looked at: what it is not to go with may have come since."""
    had = objects(service("a", "clusterIP: 10.96.0.9"))
    slice_ = EndpointSlice(metadata=ObjectMeta(name="A b", namespace="default"), addressType="IPv4")
    two = [*objects(service("b", "clusterIP: 10.96.0.9")), slice_]
    right = set(map(id, two))
    (problem,) = validate(two, Snapshot.of(had), right)
    assert "already allocated" in problem.message and problem.object is two[0]
    (again,) = validate([*had, two[0]], Snapshot(), set(map(id, (*had, *two))))
    assert "already allocated" in again.message
    found = validate(two, Snapshot.of(had), right - {id(slice_)})
    assert {problem.object.name for problem in found} == {"b", "A b"}


def test_a_service_that_is_right_by_itself_is_asked_only_whether_it_has_what_is_free() -> None:
    """Its fields were looked at by the same function, of the same program, with the same values: nothing else there is
    tells more of them. What is free, in range and selected others tell, and these may have come since."""
    had = objects(service("a", "clusterIP: 10.96.0.9, type: NodePort", "[{port: 80, nodePort: 30080}]"))
    (new,) = objects(service("b", "clusterIP: 10.96.0.10, type: NodePort", "[{port: 80, nodePort: 30080}]"))
    assert isinstance(new, Service)
    wrong = replace(new, spec=replace(new.spec, clusterIP="10.96.0.9", clusterIPs=("10.96.0.9", "x"), ipFamilies=()))
    right = [show(problem.path) for problem in validate([wrong], Snapshot.of(had), {id(wrong)})]
    assert right == ["spec.ports[0].nodePort", "spec.clusterIP"]
    found = [show(problem.path) for problem in validate([wrong], Snapshot.of(had))]
    assert found == ["spec.clusterIPs[1]", *right]
