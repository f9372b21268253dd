"""EndpointSlices and Endpoints: of selectors, of hand-written Endpoints, and as pods come and go."""

from __future__ import annotations

import random

from msgspec.structs import replace

from k8snetlab.api.core import Endpoints, Node, Service
from k8snetlab.api.discovery import Endpoint, EndpointSlice
from k8snetlab.testing.fake_cluster import LAB, FakeCluster, deployment, service


def slices(world: FakeCluster, name: str = "web") -> list[EndpointSlice]:
    return [s for s in world.snapshot.all(EndpointSlice).values() if s.service_key == ("default", name)]


def endpoints(world: FakeCluster, name: str = "web") -> dict[str, Endpoint]:
    return {e.addresses[0]: e for s in slices(world, name) for e in s.endpoints}


def test_a_service_gets_one_slice_with_the_pods_it_selects() -> None:
    world = FakeCluster(LAB % 2 + deployment("web") + deployment("other") + service("web")).settle()
    (slice_,) = slices(world)
    assert slice_.name.startswith("web-") and len(slice_.name) == 9
    assert slice_.metadata.labels["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io"
    assert [(p.name, p.port, p.protocol) for p in slice_.ports] == [("", 8080, "TCP")]
    pods = {p.status.podIP: p for p in world.pods("web")}
    assert set(endpoints(world)) == set(pods)
    for ip, endpoint in endpoints(world).items():
        assert endpoint.nodeName == pods[ip].spec.nodeName
        assert endpoint.targetRef and endpoint.targetRef.uid == pods[ip].metadata.uid
        assert (endpoint.conditions.ready, endpoint.conditions.serving, endpoint.conditions.terminating) == (
            False,
            False,
            False,
        )
    world.run()
    assert all(e.conditions.ready and e.conditions.serving for e in endpoints(world).values())


def test_a_terminating_pod_still_serves_but_is_not_ready() -> None:
    world = FakeCluster(LAB % 1 + deployment("web", 2) + service("web")).run()
    old = world.pods()[0]
    world.delete(old)
    world.settle()
    conditions = endpoints(world)[old.status.podIP].conditions
    assert (conditions.ready, conditions.serving, conditions.terminating) == (False, True, True)
    listed = world.snapshot.all(Endpoints)[("default", "web")]
    assert old.status.podIP not in {a.ip for s in listed.subsets for a in (*s.addresses, *s.notReadyAddresses)}


def test_the_endpoints_object_is_kept_too() -> None:
    world = FakeCluster(LAB % 1 + deployment("web", 2) + service("web")).settle()
    (listed,) = world.snapshot.all(Endpoints).values()
    assert [len(s.notReadyAddresses) for s in listed.subsets] == [2]
    world.run()
    (listed,) = world.snapshot.all(Endpoints).values()
    assert [a.ip for a in listed.subsets[0].addresses] == ["10.244.1.2", "10.244.1.3"]
    assert listed.metadata.labels["endpoints.kubernetes.io/managed-by"] == "endpoint-controller"


def test_named_target_ports_are_looked_up_in_each_pod() -> None:
    world = FakeCluster(
        LAB % 1
        + deployment("web", 1, ports="[{containerPort: 8080, name: http}]")
        + deployment("web2", 1, ports="[{containerPort: 9090, name: http}]").replace("app: web2", "app: web, v: '2'")
        + deployment("web3", 1, ports="[{containerPort: 1, name: other}]").replace("app: web3", "app: web, v: '3'")
        + service("web", ports="[{port: 80, targetPort: http}]")
    ).run()
    found = sorted(([p.port for p in s.ports], len(s.endpoints)) for s in slices(world))
    assert found == [([], 1), ([8080], 1), ([9090], 1)]  # who has no such port is listed, without ports
    (listed,) = world.snapshot.all(Endpoints).values()
    assert sorted(s.ports[0].port for s in listed.subsets) == [8080, 9090]


def test_several_ports_share_a_slice() -> None:
    ports = "[{name: a, port: 80, targetPort: 8080}, {name: b, port: 53, protocol: UDP}]"
    world = FakeCluster(LAB % 1 + deployment("web", 1) + service("web", ports=ports)).run()
    (slice_,) = slices(world)
    assert [(p.name, p.port, p.protocol) for p in slice_.ports] == [("a", 8080, "TCP"), ("b", 53, "UDP")]


def test_slices_hold_a_hundred_endpoints_and_keep_them_where_they_are() -> None:
    world = FakeCluster(LAB % 3 + deployment("web", 250) + service("web")).run()
    assert sorted(len(s.endpoints) for s in slices(world)) == [50, 100, 100]
    before = {s.name: {e.addresses for e in s.endpoints} for s in slices(world)}
    world.apply(deployment("web", 240)).run()
    after = {s.name: {e.addresses for e in s.endpoints} for s in slices(world)}
    assert all(after[name] <= before[name] for name in after) and sum(map(len, after.values())) == 240
    world.apply(deployment("web", 0)).run()
    (slice_,) = slices(world)
    assert slice_.endpoints == () and slice_.ports == ()


def test_publish_not_ready_addresses() -> None:
    world = FakeCluster(LAB % 1 + deployment("web", 1) + service("web", "publishNotReadyAddresses: true")).settle()
    assert all(e.conditions.ready for e in endpoints(world).values()) and endpoints(world)


def test_headless_services_have_slices_with_a_label_and_hostnames() -> None:
    pod = """---
apiVersion: v1
kind: Pod
metadata: {name: db-0, labels: {app: db}}
spec: {hostname: db-0, subdomain: db, containers: [{name: a}]}
"""
    world = FakeCluster(LAB % 1 + pod + service("db", "clusterIP: None", "[]")).run()
    (slice_,) = slices(world, "db")
    assert slice_.metadata.labels["service.kubernetes.io/headless"] == ""
    assert slice_.ports == () and slice_.endpoints[0].hostname == "db-0"


def test_dual_stack_services_have_a_slice_of_each_family() -> None:
    spec = """{underlay: {cidr: "10.0.0.0/24,fd00::/64"}, podCIDR: "10.244.0.0/16,fd00:244::/56",
      serviceCIDR: "10.96.0.0/16,fd00:96::/112"}"""
    lab = "---\n{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: lab}, spec: " + spec + "}\n"
    world = FakeCluster(lab + deployment("web", 2) + service("web", "ipFamilyPolicy: PreferDualStack")).run()
    assert sorted(s.addressType for s in slices(world)) == ["IPv4", "IPv6"]
    assert all(":" in a for s in slices(world) if s.addressType == "IPv6" for e in s.endpoints for a in e.addresses)
    (web,) = world.snapshot.all(Service).values()
    assert web.spec.ipFamilies == ("IPv4", "IPv6") and len(web.spec.clusterIPs) == 2


def test_a_changed_selector_or_label_moves_endpoints() -> None:
    world = FakeCluster(LAB % 1 + deployment("web", 1) + deployment("api", 1) + service("web")).run()
    world.apply(service("web").replace("app: web", "app: api")).run()
    assert set(endpoints(world)) == {world.pods("api")[0].status.podIP}
    pod = world.pods("api")[0]
    world.store(replace(pod, metadata=replace(pod.metadata, labels={"app": "none"})))
    world.run()
    assert pod.status.podIP not in endpoints(world)


def test_zones_and_hints_follow_the_nodes_labels() -> None:
    world = FakeCluster(LAB % 2 + deployment("web", 2) + service("web", "trafficDistribution: PreferClose")).run()
    assert {e.zone for e in endpoints(world).values()} == {None}
    node = world.snapshot.all(Node)[("", "node1")]
    labels = {**node.metadata.labels, "topology.kubernetes.io/zone": "z1"}
    world.store(replace(node, metadata=replace(node.metadata, labels=labels)))
    world.run()
    by_node = {e.nodeName: e for e in endpoints(world).values()}
    assert by_node["node1"].zone == "z1"
    hints = by_node["node1"].hints
    assert hints and [z.name for z in hints.forZones] == ["z1"]
    assert by_node["node2"].hints is None


HAND_WRITTEN = """---
apiVersion: v1
kind: Service
metadata: {name: mysql}
spec: {clusterIP: 10.96.84.209, ports: [{port: 3306}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: mysql}
subsets: [{addresses: [{ip: 192.168.0.103}], notReadyAddresses: [{ip: 192.168.0.104}], ports: [{port: 3306}]}]
"""


def test_hand_written_endpoints_are_mirrored() -> None:
    world = FakeCluster(LAB % 1 + HAND_WRITTEN).run()
    (slice_,) = slices(world, "mysql")
    labels = slice_.metadata.labels
    assert labels["endpointslice.kubernetes.io/managed-by"] == "endpointslicemirroring-controller.k8s.io"
    assert {a: e.conditions.ready for a, e in endpoints(world, "mysql").items()} == {
        "192.168.0.103": True,
        "192.168.0.104": False,
    }
    world.apply(HAND_WRITTEN.replace("192.168.0.103", "192.168.0.105")).run()
    assert set(endpoints(world, "mysql")) == {"192.168.0.105", "192.168.0.104"}
    world.delete(world.snapshot.all(Endpoints)[("default", "mysql")])
    world.run()
    assert slices(world, "mysql") == []


def test_hand_written_endpoints_go_with_their_service() -> None:
    world = FakeCluster(LAB % 1 + HAND_WRITTEN).run()
    world.delete(world.snapshot.all(Service)[("default", "mysql")])
    world.run()
    assert not world.snapshot.all(EndpointSlice) and not world.snapshot.all(Endpoints)


def test_what_was_made_for_a_selector_goes_with_it_also_where_no_endpoints_are_left() -> None:
    world = FakeCluster(LAB % 1 + deployment("web", 1) + service("web")).run()
    (made,) = slices(world)
    world.delete(world.snapshot.all(Endpoints)[("default", "web")])
    world.apply(service("web").replace("selector: {app: web}, ", "")).run()
    assert made.name not in {slice_.name for slice_ in slices(world)}


def test_slices_of_others_are_left_alone_and_ours_are_repaired() -> None:
    by_hand = """---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: by-hand, labels: {kubernetes.io/service-name: web}}
ports: [{port: 8080}]
addressType: IPv4
endpoints: [{addresses: [198.51.100.7]}]
"""
    world = FakeCluster(LAB % 1 + deployment("web", 1) + service("web") + by_hand).run()
    assert "198.51.100.7" in endpoints(world)
    ours = next(s for s in slices(world) if s.name != "by-hand")
    world.delete(ours)
    world.run()
    again = next(s for s in slices(world) if s.name == ours.name)
    assert again.endpoints == ours.endpoints and again.metadata.uid != ours.metadata.uid
    world.store(replace(again, endpoints=()))
    world.run()
    assert len(endpoints(world)) == 2


def test_any_history_ends_where_a_fresh_start_would() -> None:
    """What the controllers reach step by step from changes is what one look at everything finds."""
    dice = random.Random(7)
    world = FakeCluster(LAB % 3)
    for _ in range(60):
        name = dice.choice("abc")
        match dice.randrange(6):
            case 0:
                world.apply(deployment(name, dice.randrange(6), image=dice.choice(["v1", "v2"])))
            case 1:
                world.apply(service(name, ports=dice.choice(["[{port: 80}]", "[{port: 81, targetPort: http}]"])))
            case 2 if world.pods():
                world.delete(dice.choice(world.pods()))
            case 3 if ("default", name) in world.snapshot.all(Service):
                world.delete(world.snapshot.all(Service)[("default", name)])
            case 4:
                world.kubelet(lambda pod: dice.random() < 0.7)
            case _:
                world.step()
    world.run()
    for (_, name), svc in world.snapshot.all(Service).items():
        ready = {a for a, e in endpoints(world, name).items() if e.conditions.ready}
        target = svc.spec.ports[0].targetPort
        assert target in (80, "http")
        assert ready == {p.status.podIP for p in world.pods(f"{name}-") if p.ready}
    assert all(p.ips for p in world.pods()) and len({p.ips for p in world.pods()}) == len(world.pods())
