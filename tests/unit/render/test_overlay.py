"""What each backend puts into a node, and what a miss is answered with."""

from __future__ import annotations

import msgspec
import pytest

from k8snetlab.api.core import Node
from k8snetlab.api.load import load
from k8snetlab.api.validate import validate
from k8snetlab.dataplane.delta import diff
from k8snetlab.dataplane.links import Vxlan
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.resolution import Resolution, Resolutions
from k8snetlab.dataplane.routing import Neighbour, Route
from k8snetlab.errors import ManifestError
from k8snetlab.render.node import render
from k8snetlab.testing.fake_cluster import FakeCluster

TWO = Resolution("flannel.1", "172.30.9.0/24", "02:00:00:00:00:02", "192.168.0.22", "/registry/minions/node2")
THREE = Resolution("flannel.1", "172.30.8.0/32", "02:00:00:00:00:03", "192.168.0.23", "/registry/minions/node3")
SIX = Resolution("flannel-v6.1", "fd00:9::/64", "02:00:00:00:00:06", "fd00:192::22", "/registry/minions/node2")


def node(network: str, pods: str = "") -> Netns:
    """node1 of three, with pods on node2."""
    lab = (
        "{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: lab},"
        f" spec: {{nodes: 3, podCIDR: 172.30.0.0/16, network: {network}}}}}\n"
    )
    return render(FakeCluster(lab + pods).run().snapshot, "node1").node


def tunnel(state: Netns) -> Vxlan | None:
    return next((link for link in state.links if isinstance(link, Vxlan)), None)


def pod_routes(state: Netns) -> set[str]:
    return {route.words() for route in state.routes if route.dst != "default"}


def test_on_miss_has_no_entries_but_knows_every_node() -> None:
    state = node("{resolve: on-miss}")
    device = tunnel(state)
    assert device and device.l2miss and device.l3miss
    assert (state.neighbours, state.fdb, state.asking) == ((), (), {"flannel.1"})
    assert state.sysctls["net.ipv4.neigh.flannel/1.app_solicit"] == "3"
    assert pod_routes(state) == {
        "172.30.2.0/24 via 172.30.2.0 dev flannel.1 onlink",
        "172.30.3.0/24 via 172.30.3.0 dev flannel.1 onlink",
    }
    assert [(r.prefix, r.dst, r.key) for r in state.resolutions] == [
        ("172.30.2.0/32", "192.168.0.22", "/registry/minions/node2"),
        ("172.30.3.0/32", "192.168.0.23", "/registry/minions/node3"),
    ]


def test_flat_has_one_route_and_answers_for_whole_subnets() -> None:
    state = node("{resolve: on-miss, routes: flat}")
    assert pod_routes(state) == {"172.30.0.0/16 dev flannel.1"}
    assert [r.prefix for r in state.resolutions] == ["172.30.2.0/24", "172.30.3.0/24"]


def test_flat_and_proactive_has_a_neighbour_for_every_pod() -> None:
    pod = "---\n{apiVersion: v1, kind: Pod, metadata: {name: %s}, spec: {nodeName: %s, containers: [{name: c}]}}\n"
    host = (pod % ("h", "node2")).replace("containers", "hostNetwork: true, containers")
    state = node("{routes: flat}", pod % ("b", "node2") + host + pod % ("a", "node1"))
    assert {n.dst for n in state.neighbours} == {"172.30.2.0", "172.30.2.1", "172.30.2.2", "172.30.3.0", "172.30.3.1"}
    assert {n.state for n in state.neighbours} == {"PERMANENT"} and len(state.fdb) == 2
    device = tunnel(state)
    assert device and not device.l2miss and not state.resolutions


def test_direct_routing_needs_no_entries_for_nodes_on_the_same_link() -> None:
    state = node("{directRouting: true}")
    assert pod_routes(state) == {
        "172.30.2.0/24 via 192.168.0.22 dev eth0",
        "172.30.3.0/24 via 192.168.0.23 dev eth0",
    }
    assert (state.neighbours, state.fdb) == ((), ()) and tunnel(state)
    assert not node("{directRouting: true, resolve: on-miss}").resolutions


def test_host_gw_has_no_tunnel_and_still_owns_the_one_that_may_be_left() -> None:
    state = node("{backend: host-gw}")
    assert tunnel(state) is None and "flannel.1" in state.owned
    assert pod_routes(state) == pod_routes(node("{directRouting: true}"))


def test_the_mac_of_a_vtep_survives_a_time_without_tunnel() -> None:
    world = FakeCluster("{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: lab}, spec: {nodes: 2}}\n").run()
    before = [n.metadata.annotations for n in world.snapshot.all(Node).values()]
    for network in ("{backend: host-gw}", "{}"):
        spec = f"spec: {{nodes: 2, network: {network}}}"
        world.apply(f"{{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {{name: lab}}, {spec}}}\n").run()
    assert [n.metadata.annotations for n in world.snapshot.all(Node).values()] == before


# --- answers ---------------------------------------------------------------------------------------------------------


def test_an_address_is_looked_up_by_its_prefix_and_a_mac_as_it_is() -> None:
    known = Resolutions([TWO, THREE, SIX])
    for dev, packed, resolution in (
        ("flannel.1", [172, 30, 9, 0], TWO),
        ("flannel.1", [172, 30, 9, 255], TWO),
        ("flannel.1", [172, 30, 8, 0], THREE),
        ("flannel-v6.1", [0xFD, 0, 0, 9, *[0] * 11, 7], SIX),
    ):
        found = known.address(dev, bytes(packed))
        assert found and found.resolution is resolution
    assert known.address("flannel.1", bytes([172, 30, 8, 1])) is None
    assert known.address("flannel.2", bytes([172, 30, 9, 1])) is None
    assert known.address("flannel.1", bytes(16)) is None
    found = known.vtep("flannel.1", bytes([2, 0, 0, 0, 0, 2]))
    assert found and (found.lladdr, found.dst) == (bytes([2, 0, 0, 0, 0, 2]), bytes([192, 168, 0, 22]))
    assert known.vtep("flannel.1", bytes([2, 0, 0, 0, 0, 6])) is None


def test_the_longest_prefix_wins() -> None:
    known = Resolutions([TWO, msgspec.structs.replace(THREE, prefix="172.30.9.128/25")])
    found = known.address("flannel.1", bytes([172, 30, 9, 200]))
    assert found and found.resolution.key == THREE.key


FLANNEL = Vxlan("flannel.1", 1, "192.168.0.21", "eth0", mac="02:00:00:00:00:01", l2miss=True, l3miss=True)
ASKED = Netns("n", links=(FLANNEL,), owned=("flannel.1",), resolutions=(TWO, THREE))
ANSWERED = msgspec.structs.replace(
    ASKED,
    neighbours=(
        Neighbour("flannel.1", "172.30.9.4", TWO.lladdr, "STALE"),
        Neighbour("flannel.1", "172.30.8.0", THREE.lladdr, "REACHABLE"),
        Neighbour("flannel.1", "172.30.7.7", "", "INCOMPLETE"),
    ),
    fdb=(TWO.fdb, THREE.fdb),
)


def commands(desired: Netns, actual: Netns, previous: Netns | None = None) -> list[str]:
    return [str(operation) for operation in diff(desired, actual, previous)]


@pytest.mark.parametrize("previous", [None, ASKED], ids=["adopting", "going on"])
def test_answers_are_no_drift(previous: Netns | None) -> None:
    assert commands(ASKED, ANSWERED, previous) == []
    assert commands(ASKED, ASKED, previous) == [], "and nobody misses what was not asked for"


@pytest.mark.parametrize("previous", [None, ASKED], ids=["adopting", "going on"])
def test_the_answers_about_a_node_that_left_go(previous: Netns | None) -> None:
    left = msgspec.structs.replace(ASKED, resolutions=(TWO,))
    assert commands(left, ANSWERED, previous) == [
        "ip -n n neigh del 172.30.8.0 dev flannel.1",
        "bridge -n n fdb del 02:00:00:00:00:03 dev flannel.1 dst 192.168.0.23 self permanent",
    ]


@pytest.mark.parametrize("previous", [None, ASKED], ids=["adopting", "going on"])
def test_an_answer_that_would_be_another_now_is_replaced(previous: Netns | None) -> None:
    moved = msgspec.structs.replace(TWO, dst="192.168.0.99")
    assert commands(msgspec.structs.replace(ASKED, resolutions=(moved, THREE)), ANSWERED, previous) == [
        "bridge -n n fdb replace 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.99 self permanent"
    ]
    other = msgspec.structs.replace(TWO, lladdr="02:00:00:00:00:22")
    assert commands(msgspec.structs.replace(ASKED, resolutions=(other, THREE)), ANSWERED, previous) == [
        "ip -n n neigh replace 172.30.9.4 lladdr 02:00:00:00:00:22 dev flannel.1 nud reachable",
        "bridge -n n fdb del 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.22 self permanent",
    ]


def test_a_tunnel_that_begins_to_ask_begins_with_nothing() -> None:
    told = msgspec.structs.replace(
        ASKED,
        links=(msgspec.structs.replace(FLANNEL, l2miss=False, l3miss=False),),
        neighbours=(Neighbour("flannel.1", "172.30.8.0", THREE.lladdr),),
        fdb=(THREE.fdb,),
        resolutions=(),
    )
    for previous in (None, told):
        first, second = commands(ASKED, told, previous)
        assert first == "ip -n n link del flannel.1" and second.endswith("nolearning l2miss l3miss")


def test_an_agent_that_adopts_clears_routes_into_the_pod_network_and_no_others() -> None:
    desired = Netns("n", routes=(Route("172.30.2.0/24", "eth0", "192.168.0.22"),), networks=("172.30.0.0/16",))
    actual = Netns(
        "n",
        routes=(
            *desired.routes,
            Route("172.30.3.0/24", "eth0", "192.168.0.23"),
            Route("default", "eth0", "192.168.0.1"),
            Route("172.31.0.0/16", "eth0", "192.168.0.9"),
            Route("fd00::/64", "eth0", "fd01::1"),
        ),
    )
    assert commands(desired, actual) == ["ip -n n route del 172.30.3.0/24 via 192.168.0.23 dev eth0"]
    assert commands(desired, actual, desired) == []


# --- host-gw's next hops ---------------------------------------------------------------------------------------------


AFAR = """---
apiVersion: v1
kind: Node
metadata: {name: afar}
spec: {podCIDR: 172.30.99.0/24}
status: {addresses: [{type: InternalIP, address: 10.9.9.9}]}
"""


def test_a_next_hop_that_is_not_on_the_link_is_named() -> None:
    lab = (
        "{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: lab},"
        " spec: {podCIDR: 172.30.0.0/16, network: {backend: %s}}}\n"
    )
    with pytest.raises(ManifestError, match=r"next hop 10\.9\.9\.9 \(Node afar .*192\.168\.0\.0/24"):
        FakeCluster(lab % "host-gw" + AFAR)
    running = FakeCluster(lab % "vxlan" + AFAR).snapshot
    (problem,) = validate(load([("f.yaml", lab % "host-gw")]).objects, running)
    assert "next hop 10.9.9.9 (Node afar" in str(problem) and problem.severity == "error"
    assert not validate(load([("f.yaml", lab % "vxlan")]).objects, running)


def test_what_means_nothing_with_host_gw_is_a_warning() -> None:
    lab = "{apiVersion: k8snetlab/v1alpha1, kind: Lab, spec: {network: {backend: host-gw, resolve: on-miss}}}\n"
    (warning,) = load([("f.yaml", lab)]).warnings
    assert "spec.network.resolve: means nothing with backend host-gw" in warning
