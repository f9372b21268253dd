"""What is allocated, what is kept over an update, and what is refused, in Kubernetes' words."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from k8snetlab.api.core import Pod, Service
from k8snetlab.api.load import load
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.admission import admit
from k8snetlab.errors import ManifestError
from k8snetlab.testing.fake_cluster import LAB, FakeCluster, deployment, service


def services(world: FakeCluster) -> dict[str, Service]:
    return {name: svc for (_, name), svc in world.snapshot.all(Service).items()}


def lab(cidr: str) -> str:
    return (
        "---\n{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: lab}, "
        f"spec: {{nodes: 1, serviceCIDR: '{cidr}'}}}}\n"
    )


DUAL = """---
apiVersion: k8snetlab/v1alpha1
kind: Lab
metadata: {name: lab}
spec:
  underlay: {cidr: "10.0.0.0/24,fd00::/64"}
  podCIDR: 10.244.0.0/16,fd00:244::/56
  serviceCIDR: 10.96.0.0/16,fd00:96::/112
"""


def test_cluster_ips_come_from_the_upper_part_and_are_the_same_in_every_lab() -> None:
    first = FakeCluster(lab("10.254.0.0/16") + service("a") + service("b"))
    again = FakeCluster(lab("10.254.0.0/16") + service("b") + service("a"))
    ips = {name: svc.spec.clusterIP for name, svc in services(first).items()}
    assert ips == {name: svc.spec.clusterIP for name, svc in services(again).items()}
    assert len(set(ips.values())) == 2
    for ip in ips.values():
        third, fourth = map(int, ip.split(".")[2:])
        assert ip.startswith("10.254.") and 256 < third * 256 + fourth < 65535


def test_a_range_is_given_out_to_the_last_address_and_then_said_to_be_full() -> None:
    # /28: .0 and .15 are never given, .1 is that of default/kubernetes.
    world = FakeCluster(lab("10.0.0.0/28") + "".join(service(f"s{n}") for n in range(13)))
    assert {svc.spec.clusterIP for svc in services(world).values()} == {f"10.0.0.{n}" for n in range(2, 15)}
    with pytest.raises(ManifestError, match=r'Service "x" is invalid: spec.clusterIPs: failed to allocate IP: range'):
        world.apply(service("x"))
    world.apply(service("kubernetes"))
    assert services(world)["kubernetes"].spec.clusterIP == "10.0.0.1"


def test_addresses_asked_for_are_given_before_others_are_chosen() -> None:
    fixed = "".join(service(f"f{n}", f"clusterIP: 10.0.0.{n}") for n in range(8, 15))
    world = FakeCluster(lab("10.0.0.0/28") + "".join(service(f"a{n}") for n in range(6)) + fixed)
    assert len({svc.spec.clusterIP for svc in services(world).values()}) == 13


def test_conflicts_in_kubernetes_words() -> None:
    world = FakeCluster(LAB % 1 + service("a", "clusterIP: 10.96.0.9, type: NodePort", "[{port: 80, nodePort: 30080}]"))
    with pytest.raises(ManifestError, match=r"failed to allocate IP 10\.96\.0\.9: provided IP is already allocated"):
        world.apply(service("b", "clusterIP: 10.96.0.9"))
    with pytest.raises(ManifestError, match=r"spec.ports\[0\].nodePort: 30080: provided port is already allocated"):
        world.apply(service("b", "type: NodePort", "[{port: 80, nodePort: 30080}]"))
    assert list(services(world)) == ["a"]


def test_node_ports_are_allocated_and_shared_by_the_protocols_of_one_port() -> None:
    ports = "[{name: u, port: 53, protocol: UDP}, {name: t, port: 53}, {name: m, port: 9153}]"
    world = FakeCluster(LAB % 1 + service("dns", "type: NodePort", ports))
    numbers = [p.nodePort for p in services(world)["dns"].spec.ports]
    assert numbers[0] == numbers[1] != numbers[2]
    assert all(30086 <= n <= 32767 for n in numbers)


def test_load_balancers_check_health_where_traffic_stays_local() -> None:
    world = FakeCluster(LAB % 1 + service("lb", "type: LoadBalancer, externalTrafficPolicy: Local"))
    spec = services(world)["lb"].spec
    assert 30000 <= spec.healthCheckNodePort <= 32767 != spec.ports[0].nodePort
    world.apply(service("lb", "type: LoadBalancer, externalTrafficPolicy: Cluster"))
    assert services(world)["lb"].spec.healthCheckNodePort == 0
    world.apply(service("bare", "type: LoadBalancer, allocateLoadBalancerNodePorts: false"))
    assert services(world)["bare"].spec.ports[0].nodePort == 0


def test_an_update_keeps_what_was_allocated() -> None:
    world = FakeCluster(LAB % 1 + service("a", "type: NodePort"))
    before = services(world)["a"]
    world.apply(service("a", "type: NodePort", "[{port: 80, targetPort: 9090}]"))
    after = services(world)["a"]
    assert after.spec.clusterIP == before.spec.clusterIP
    assert after.spec.ports[0].nodePort == before.spec.ports[0].nodePort
    assert after.metadata.uid == before.metadata.uid
    world.apply(service("a", "type: ClusterIP"))
    assert services(world)["a"].spec.ports[0].nodePort == 0
    assert services(world)["a"].spec.clusterIP == before.spec.clusterIP


def test_the_same_manifest_again_changes_nothing() -> None:
    text = LAB % 1 + service("a", "type: NodePort") + service("h", "clusterIP: None") + deployment("web")
    world = FakeCluster(text)
    for obj in load([("f.yaml", text)]).objects:
        old = world.snapshot.all(type(obj))[obj.key]
        again = admit(obj, old, world.snapshot)
        assert replace(again, metadata=replace(again.metadata, creationTimestamp=old.metadata.creationTimestamp)) == old


def test_types_that_have_no_address() -> None:
    world = FakeCluster(
        LAB % 1 + service("h", "clusterIP: None") + service("e", "type: ExternalName, externalName: a.b")
    )
    assert services(world)["h"].spec.clusterIPs == ("None",)
    assert services(world)["e"].spec.clusterIP == ""
    world.apply(service("e"))
    assert services(world)["e"].spec.clusterIP.startswith("10.")
    world.apply(service("e", "type: ExternalName, externalName: a.b"))
    assert services(world)["e"].spec.clusterIP == ""


@pytest.mark.parametrize(
    ("more", "families"),
    [
        ("", ("IPv4",)),
        ("ipFamilies: [IPv6]", ("IPv6",)),
        ("ipFamilyPolicy: PreferDualStack", ("IPv4", "IPv6")),
        ("ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6]", ("IPv6", "IPv4")),
        ("clusterIP: 'fd00:96::77'", ("IPv6",)),
        ("clusterIP: None, ipFamilyPolicy: PreferDualStack", ("IPv4", "IPv6")),
    ],
)
def test_the_policy_decides_the_families_and_addresses_of_a_service(more: str, families: tuple[str, ...]) -> None:
    spec = services(FakeCluster(DUAL + service("a", more)))["a"].spec
    assert spec.ipFamilies == families
    if spec.clusterIP != "None":
        assert tuple("IPv6" if ":" in ip else "IPv4" for ip in spec.clusterIPs) == families


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("ipFamilyPolicy: RequireDualStack", "this cluster is not configured for dual-stack services"),
        ("ipFamilies: [IPv6]", "Invalid value: IPv6: not configured on this cluster"),
        ("ipFamilies: [IPv6], clusterIP: 10.96.0.8", "do not fit the addresses"),
    ],
)
def test_ip_families_that_the_lab_has_not(more: str, said: str) -> None:
    with pytest.raises(ManifestError, match=said):
        FakeCluster(LAB % 1 + service("a", more))


def test_what_may_not_change() -> None:
    spec = "{containers: [{name: a, image: %s, command: [%s]}]}"
    pod = "---\n{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: " + spec + "}\n"
    world = FakeCluster(
        LAB % 1 + service("a", "clusterIP: 10.96.0.9") + deployment("web", 1) + pod % ("x", "run")
    ).run()
    with pytest.raises(
        ManifestError, match=r"spec.clusterIPs\[0\]: Invalid value: \"10.96.0.10\": may not change once"
    ):
        world.apply(service("a", "clusterIP: 10.96.0.10"))
    with pytest.raises(ManifestError, match=r"spec\.selector: field is immutable"):
        world.apply(deployment("web", 1).replace("app: web", "app: web, v: x"))
    with pytest.raises(ManifestError, match="pod updates may not change fields other than"):
        world.apply(pod % ("x", "stop"))
    world.apply(pod % ("other", "run"))
    old = world.snapshot.all(Pod)[("default", "p")]
    assert old.spec.containers[0].image == "other" and old.spec.nodeName == "node1"
    with pytest.raises(ManifestError, match="pod updates may not change"):
        world.store(replace(old, spec=replace(old.spec, nodeName="node2")))


def test_a_wrong_object_of_a_client_is_refused_with_its_fields() -> None:
    wrong = Service(metadata=ObjectMeta(name='a" -j DROP'))
    with pytest.raises(ManifestError) as caught:
        admit(wrong, None, Snapshot())
    assert [p.split(": ")[1] for p in caught.value.problems] == ["metadata.name", "spec.ports"]
    assert caught.value.status == 422


def test_uids_are_those_of_every_lab_but_not_those_of_the_deleted() -> None:
    svc = Service(metadata=ObjectMeta(name="a"))
    svc = replace(svc, spec=replace(svc.spec, clusterIP="None"))
    one, two, later = (admit(svc, None, Snapshot(revision)).metadata.uid for revision in (1, 1, 2))
    assert one == two != later and len(one) == 36
