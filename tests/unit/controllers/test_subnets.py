"""Which subnet a node gets, what its lease says, and what becomes of nodes nobody hears of: as decisions."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from k8snetlab.api import leases
from k8snetlab.api.addressing import IPNetwork, free_subnet, parse_network, parse_networks, subnet_range
from k8snetlab.api.columns import COLUMNS
from k8snetlab.api.core import Condition, Node, NodeAddress, NodeSpec, NodeStatus, Pod
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.lab import Lab, LabNode, LabSpec
from k8snetlab.api.lab import Network as Overlay
from k8snetlab.api.leases import SubnetLease
from k8snetlab.api.load import load
from k8snetlab.api.machines import MACHINE
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers import node_lifecycle, subnets
from k8snetlab.errors import ManifestError
from k8snetlab.render import node as render_node
from k8snetlab.render.subnet_env import subnet_env, text
from k8snetlab.testing.fake_cluster import FakeCluster, deployment, service

T0, T1 = "2026-01-01T00:00:00Z", "2026-01-01T00:10:00Z"
POD_NETWORK = parse_network("10.5.0.0/16")


def cidrs(*texts: str) -> list[IPNetwork]:
    return [parse_network(text) for text in texts]


def machine(name: str, address: str, *pods: str) -> Node:
    addresses = tuple(NodeAddress(type="InternalIP", address=a) for a in address.split(","))
    return Node(
        metadata=ObjectMeta(name=name, annotations={MACHINE: f"host-{name}"}),
        spec=NodeSpec(podCIDR=pods[0] if pods else "", podCIDRs=pods),
        status=NodeStatus(addresses=addresses, conditions=(Condition(type="Ready", status="True"),)),
    )


def lab(pods: str = "10.5.0.0/16", nodes: tuple[LabNode, ...] = (), **overlay: object) -> Lab:
    spec = LabSpec(machines=True, nodes=nodes, podCIDR=pods, network=Overlay(**overlay))  # type: ignore[arg-type]
    return Lab(metadata=ObjectMeta(name="lab"), spec=spec)


def lease(subnet: str, *addresses: str) -> SubnetLease:
    found = parse_networks(subnet)
    return SubnetLease(leases.subnet_key(found), tuple(found), addresses)


# --- flannel's SubnetLen, SubnetMin, SubnetMax ---


class Divided(NamedTuple):
    """A pod network, and the subnets that flannel takes of it where nothing is said: how long, from where to where."""

    cidr: str
    length: int
    first: str
    last: str
    room: int


DIVIDED = (
    Divided("10.5.0.0/16", length=24, first="10.5.1.0", last="10.5.255.0", room=255),
    Divided("10.5.0.0/22", length=24, first="10.5.1.0", last="10.5.3.0", room=3),
    Divided("10.5.0.0/23", length=25, first="10.5.0.128", last="10.5.1.128", room=3),
    Divided("10.5.0.0/28", length=30, first="10.5.0.4", last="10.5.0.12", room=3),
    Divided("fd00:5::/48", length=64, first="fd00:5:0:1::", last="fd00:5:0:ffff::", room=65535),
)


@pytest.mark.parametrize("case", DIVIDED, ids=lambda case: case.cidr)
def test_the_default_range_is_flannels(case: Divided) -> None:
    found = subnet_range(parse_network(case.cidr))
    assert Divided(case.cidr, found.length, str(found.first), str(found.last), found.room) == case


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("subnetLen: 17", "10.5.0.0/16 cannot be divided into /17: take /18"),
        ("subnetLen: 31", "to /30 (a subnet needs room for pods)"),
        ("subnetMin: 10.6.0.0", "subnetMin: 10.6.0.0 is not in 10.5.0.0/16"),
        ("subnetMin: 10.5.1.128", "no /24 begins at 10.5.1.128; the one around it begins at 10.5.1.0"),
        ("subnetMin: ten", "subnetMin: 'ten' is no IP address"),
        ("subnetMax: 10.5.0.1", "no /24 begins at 10.5.0.1"),
        ("subnetMin: 10.5.9.0, subnetMax: 10.5.8.0", "subnetMax: the subnets end at 10.5.8.0, before they begin at"),
        ("subnetMin: 10.5.9.0, subnetMax: 10.5.9.0", "has subnets (/24) for 1 nodes, but there are 2"),
        ("ipv6SubnetLen: 64", "ipv6SubnetLen: means nothing here: spec.podCIDR has no IPv6 network"),
        ("leaseTTL: 1", "leaseTTL"),
    ],
)
def test_a_range_that_cannot_be_is_refused_with_its_line(settings: str, said: str) -> None:
    text = "apiVersion: k8snetlab/v1alpha1\nkind: Lab\nmetadata: {name: a}\nspec:\n  podCIDR: 10.5.0.0/16\n"
    with pytest.raises(ManifestError) as refused:
        load([("lab.yaml", f"{text}  network: {{{settings}}}\n")])
    (problem,) = refused.value.problems
    assert said in problem and problem.startswith(("lab.yaml:6: ", "lab.yaml:5: "))


@settings(deadline=None)
@given(
    length=st.integers(18, 30),
    taken=st.lists(st.tuples(st.integers(0, 2**16 - 1), st.integers(18, 30)), max_size=40),
)
def test_a_free_subnet_is_the_first_that_overlaps_none(length: int, taken: list[tuple[int, int]]) -> None:
    base = int(POD_NETWORK.network_address)
    used: list[IPNetwork] = [ip_network((base + offset, size), strict=False) for offset, size in taken]
    plan = subnet_range(POD_NETWORK, length)
    found = free_subnet(plan, used)
    candidates = (parse_network(f"{plan.network[n * plan.size]}/{length}") for n in range(1, plan.room + 1))
    assert found == next((c for c in candidates if not any(c.overlaps(u) for u in used)), None)


def test_controllers_of_namespaces_give_subnets_of_that_range() -> None:
    text = """{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: lab}, spec: {nodes: 3,
      podCIDR: "10.5.0.0/16,fd00:5::/48", underlay: {cidr: "192.168.0.0/24,fd00::/64"},
      serviceCIDR: "10.96.0.0/16,fd00:96::/112", network: {subnetLen: 26, subnetMin: 10.5.3.64, ipv6SubnetLen: 80}}}"""
    nodes = FakeCluster(text).run().snapshot.all(Node).values()
    assert [node.podCIDRs for node in nodes] == [
        ("10.5.3.64/26", "fd00:5:0:0:1::/80"),
        ("10.5.3.128/26", "fd00:5:0:0:2::/80"),
        ("10.5.3.192/26", "fd00:5:0:0:3::/80"),
    ]


# --- the choice ---


def test_the_lease_of_its_address_comes_before_what_it_had_and_what_is_free() -> None:
    world = Snapshot.of([lab(), machine("a", "192.168.56.11", "10.5.7.0/24")])
    held = [lease("10.5.34.0/24", "192.168.56.11"), lease("10.5.1.0/24", "192.168.56.99")]
    own = subnets.own_leases(world, "a", ["192.168.56.11"], held)
    assert own == ["/coreos.com/network/subnets/10.5.34.0-24"]
    assert subnets.choose(world, "a", own, held) == cidrs("10.5.34.0/24")
    assert subnets.choose(world, "a", [], held[1:]) == cidrs("10.5.7.0/24")
    assert subnets.choose(world, "b", [], held) == cidrs("10.5.2.0/24")
    assert subnets.choose(world, "b", [], [*held, lease("10.5.7.0/24", "192.168.56.98")]) == cidrs("10.5.2.0/24")


def test_what_the_lab_gives_a_node_comes_first_and_is_nobody_elses() -> None:
    given_one = LabNode(name="a", podCIDR="10.5.1.0/24")
    world = Snapshot.of([lab(nodes=(given_one,)), machine("a", "192.168.56.11", "10.5.7.0/24")])
    assert subnets.choose(world, "a", [], []) == cidrs("10.5.1.0/24")
    assert subnets.choose(world, "b", [], []) == cidrs("10.5.2.0/24")


def test_what_another_node_has_is_its_own_even_when_its_lease_has_expired() -> None:
    world = Snapshot.of([lab(), machine("gone", "192.168.56.11", "10.5.1.0/24")])
    assert subnets.choose(world, "b", [], []) == cidrs("10.5.2.0/24")
    stolen = [lease("10.5.1.0/24", "192.168.56.11")]
    assert subnets.own_leases(world, "b", ["192.168.56.11"], stolen) == [], "the address moved, the subnet did not"
    assert subnets.own_leases(world, "gone", ["192.168.56.44"], stolen) == [stolen[0].key]


def test_a_lease_outside_of_the_range_is_not_used_again() -> None:
    world = Snapshot.of([lab(subnetMin="10.5.100.0"), machine("a", "192.168.56.11", "10.5.7.0/24")])
    held = [lease("10.5.34.0/24", "192.168.56.11")]
    assert subnets.choose(world, "a", [held[0].key], held) == cidrs("10.5.100.0/24")


def test_when_nothing_is_left_there_is_nothing() -> None:
    world = Snapshot.of([lab("10.5.0.0/22")])
    held = [lease(f"10.5.{n}.0/24", f"192.168.56.{n}") for n in (1, 2, 3)]
    assert subnets.choose(world, "d", [], held) is None
    assert subnets.choose(world, "d", [], held[:2]) == cidrs("10.5.3.0/24")


# --- keys and values ---


def test_a_lease_reads_as_flannels() -> None:
    node = machine("a", "192.168.56.11,fd00:56::11", "10.5.34.0/24", "fd00:5:22::/64")
    key = leases.subnet_key(parse_networks("10.5.34.0/24,fd00:5:22::/64"))
    assert key == "/coreos.com/network/subnets/10.5.34.0-24&fd00:5:22::-64"
    value = leases.subnet_value(lab(), node)
    assert json.loads(value)["BackendData"]["VNI"] == 1
    found = leases.subnet_lease(key, value)
    assert found == SubnetLease(key, tuple(parse_networks("10.5.34.0/24,fd00:5:22::/64")), node.addresses)
    assert "BackendData" not in json.loads(leases.subnet_value(lab(backend="host-gw"), node))


@pytest.mark.parametrize(
    ("name", "value"),
    [("10.5.34.0", b"{}"), ("10.5.34.1-24", b"{}"), ("a-b", b"{}"), ("10.5.34.0-24", b"no"), ("10.5.34.0-24", b"[]")],
)
def test_what_is_no_lease_is_passed_over(name: str, value: bytes) -> None:
    assert leases.subnet_lease(leases.SUBNETS + name, value) is None


def test_the_configuration_is_flannels() -> None:
    both = lab("10.5.0.0/16,fd00:5::/48", port=4789, directRouting=True)
    assert json.loads(leases.network_config(both)) == {
        "Network": "10.5.0.0/16",
        "SubnetLen": 24,
        "SubnetMin": "10.5.1.0",
        "SubnetMax": "10.5.255.0",
        "EnableIPv6": True,
        "IPv6Network": "fd00:5::/48",
        "IPv6SubnetLen": 64,
        "IPv6SubnetMin": "fd00:5:0:1::",
        "IPv6SubnetMax": "fd00:5:0:ffff::",
        "Backend": {"Type": "vxlan", "VNI": 1, "Port": 4789, "DirectRouting": True},
    }
    six = json.loads(leases.network_config(lab("fd00:5::/48", backend="host-gw")))
    assert six["EnableIPv4"] is False and six["Backend"] == {"Type": "host-gw"}


def test_subnet_env_is_flannels() -> None:
    node = machine("a", "192.168.56.11,fd00:56::11", "10.5.34.0/24", "fd00:5:22::/64")
    assert text(subnet_env(lab("10.5.0.0/16,fd00:5::/32", mtu=1400), node)) == (
        "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.34.1/24\n"
        "FLANNEL_IPV6_NETWORK=fd00:5::/32\nFLANNEL_IPV6_SUBNET=fd00:5:22::1/64\n"
        "FLANNEL_MTU=1400\nFLANNEL_IPMASQ=true\n"
    )


# --- node lifecycle ---


def cluster() -> FakeCluster:
    """Two machines, a Service with pods on both."""
    world = FakeCluster()
    world.store(lab("10.5.0.0/16"))
    for number, name in enumerate(("a", "b"), 1):
        world.store(machine(name, f"192.168.56.1{number}", f"10.5.{number}.0/24"))
    return world.apply(deployment("web", 4) + service("web")).run()


def lose(world: FakeCluster, silent: set[str], unleased: set[str], now: str = T0) -> int:
    changed = list(node_lifecycle.health_changes(world.snapshot, silent, unleased, now))
    for obj in changed:
        world.store(obj)
    world.settle()
    return len(changed)


def ready(world: FakeCluster) -> set[str]:
    slices = world.snapshot.all(EndpointSlice).values()
    return {e.nodeName or "" for s in slices for e in s.endpoints if e.conditions.ready is not False}


def test_controllers_neither_make_nor_remove_machines() -> None:
    world = cluster()
    assert [n.name for n in world.snapshot.all(Node).values()] == ["a", "b"]
    assert not any(n.metadata.ownerReferences for n in world.snapshot.all(Node).values())
    assert not [w for w in world.history if isinstance(w.object, Node) and w.action != "update"]


def test_a_silent_node_is_unknown_and_services_go_on_without_its_pods() -> None:
    world = cluster()
    assert ready(world) == {"a", "b"}
    assert lose(world, {"b"}, set()) == 3
    node = world.snapshot.get(Node, "b")
    assert node and node.status.conditions == (
        Condition(
            type="Ready",
            status="Unknown",
            reason="NodeStatusUnknown",
            message="Kubelet stopped posting node status.",
            lastTransitionTime=T0,
        ),
    )
    assert ready(world) == {"a"}
    gone = [pod for pod in world.pods() if pod.spec.nodeName == "b"]
    assert {(p.status.reason, p.status.phase, p.ready) for p in gone} == {("NodeLost", "Running", False)}
    assert {column.of(gone[0], 0) for column in COLUMNS[Pod] if column.title == "Status"} == {"NodeLost"}
    assert lose(world, {"b"}, set(), T1) == 0, "it is said once"
    world.apply(deployment("more", 4)).settle()
    assert {p.spec.nodeName for p in world.pods("more")} == {"a"}, "nothing new is bound to it"


def test_after_five_minutes_the_pods_of_a_silent_node_are_replaced() -> None:
    world = cluster()
    lose(world, {"b"}, set())
    world.later(299)
    assert not any(pod.metadata.deletionTimestamp for pod in world.pods())
    world.later(1)
    pods = [pod for pod in world.pods() if pod.metadata.deletionTimestamp]
    assert {pod.spec.nodeName for pod in pods} == {"b"} and len(pods) == 2
    waiting = [pod for pod in world.pods() if pod.spec.nodeName == "b"]
    assert {column.of(waiting[0], 0) for column in COLUMNS[Pod] if column.title == "Status"} == {"Unknown"}
    assert sum(pod.spec.nodeName == "a" for pod in world.pods()) == 4


def test_an_expired_lease_takes_a_node_out_of_the_others_tables_and_a_new_one_puts_it_back() -> None:
    world = cluster()
    before = render_node.render(with_interface(world.snapshot), "a").node
    assert any("10.5.2.0/24" in str(route) for route in before.routes)
    assert lose(world, set(), {"b"}) == 1
    node = world.snapshot.get(Node, "b")
    assert node and not node.network_available
    after = render_node.render(with_interface(world.snapshot), "a").node
    for was, now in ((before.routes, after.routes), (before.neighbours, after.neighbours), (before.fdb, after.fdb)):
        assert len(was) == len(now) + 1
    world.store(node_lifecycle.network_up(node, T1))
    assert render_node.render(with_interface(world.snapshot), "a").node == before


def test_nodes_that_are_namespaces_are_never_lost() -> None:
    world = FakeCluster("{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: lab}, spec: {nodes: 2}}").run()
    assert list(node_lifecycle.health_changes(world.snapshot, {"node1", "node2"}, {"node1"}, T0)) == []


def with_interface(snapshot: Snapshot) -> Snapshot:
    nodes = [
        replace(n, metadata=replace(n.metadata, annotations={**n.metadata.annotations, "k8snetlab/interface": "eth1"}))
        for n in snapshot.all(Node).values()
    ]
    return snapshot.changed([(Node, n.key, n) for n in nodes], snapshot.revision)
