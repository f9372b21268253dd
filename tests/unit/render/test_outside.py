"""The hosts of `spec.outside`: beside the nodes on the bridge, beyond the router on cables of their own."""

from __future__ import annotations

import pytest

from k8snetlab.api.lab import Lab
from k8snetlab.api.load import load
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.links import Veth
from k8snetlab.dataplane.names import UNDERLAY_BRIDGE
from k8snetlab.dataplane.netns import Netns
from k8snetlab.errors import InputError, ManifestError, NotFoundError
from k8snetlab.explain.places import find_place
from k8snetlab.explain.targets import find_targets
from k8snetlab.lab.render import settle
from k8snetlab.render import underlay
from k8snetlab.render.picture import picture
from k8snetlab.render.picture_text import dot, mermaid

LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
metadata: {name: one}
spec:
  nodes: 2
  podCIDR: 10.244.0.0/16,fd00:10:244::/56
  serviceCIDR: 10.96.0.0/16,fd00:10:96::/112
  underlay: {cidr: '192.168.0.0/24,fd00:168::/64', outside: '203.0.113.10/24,2001:db8::10/64'}
  outside:
    hosts:
      - {name: mysql, address: '192.168.0.3,fd00:168::3', ports: [3306]}
      - {name: far, address: '198.51.100.7,2001:db8:7::7', ports: [80, 443]}
---
apiVersion: v1
kind: Service
metadata: {name: mysql}
spec: {ports: [{port: 3306}]}
"""


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return settle(load([("f.yaml", LAB)]).objects)


@pytest.fixture(scope="module")
def made(snapshot: Snapshot) -> dict[str, Netns]:
    found = underlay.render(snapshot)
    return {state.name: state for state in (found.node, *found.pods)}


def routes(state: Netns) -> set[str]:
    return {route.words() for route in state.routes}


def test_a_host_beside_is_a_port_of_the_bridge_and_one_beyond_is_none(made: dict[str, Netns]) -> None:
    masters = {link.name: link.master for link in made["one.router"].links if isinstance(link, Veth)}
    assert masters == {
        "node1": UNDERLAY_BRIDGE,
        "node2": UNDERLAY_BRIDGE,
        "mysql": UNDERLAY_BRIDGE,
        "outside": "",
        "far": "",
    }


def test_a_host_beside_has_an_address_of_the_nodes_network_and_asks_others_by_the_router(
    made: dict[str, Netns],
) -> None:
    assert {a.address for a in made["one.mysql"].addresses} == {"192.168.0.3/24", "fd00:168::3/64"}
    assert routes(made["one.mysql"]) == {
        "203.0.113.0/24 via 192.168.0.1 dev eth0",
        "198.51.100.7/32 via 192.168.0.1 dev eth0",
        "2001:db8::/64 via fd00:168::1 dev eth0",
        "2001:db8:7::7/128 via fd00:168::1 dev eth0",
    }


def test_a_host_beyond_has_its_address_alone_and_no_way_to_pods_and_services(made: dict[str, Netns]) -> None:
    assert {a.address for a in made["one.far"].addresses} == {"198.51.100.7/32", "2001:db8:7::7/128"}
    assert routes(made["one.far"]) == {
        "192.168.0.1/32 dev eth0",
        "192.168.0.0/24 via 192.168.0.1 dev eth0",
        "203.0.113.0/24 via 192.168.0.1 dev eth0",
        "fd00:168::1/128 dev eth0",
        "fd00:168::/64 via fd00:168::1 dev eth0",
        "2001:db8::/64 via fd00:168::1 dev eth0",
    }
    assert {"198.51.100.7/32 dev far", "2001:db8:7::7/128 dev far"} <= routes(made["one.router"])
    assert "198.51.100.7/32 via 203.0.113.1 dev eth0" in routes(made["one.outside"])


def test_a_node_gets_no_address_that_a_host_has(snapshot: Snapshot) -> None:
    addresses = {snapshot.node(name).addresses[0] for name in ("node1", "node2")}
    assert "192.168.0.3" not in addresses and len(addresses) == 2


def test_of_a_host_and_a_service_of_one_name_each_can_be_said(snapshot: Snapshot) -> None:
    (service,), (host,), (far,) = (find_targets(snapshot, n, None, "TCP") for n in ("mysql", "outside/mysql", "far"))
    assert (service.kind, host.kind, host.address, host.port) == ("clusterIP", "outside", "192.168.0.3", 3306)
    assert (far.kind, far.address, far.port) == ("outside", "198.51.100.7", 80)
    assert find_targets(snapshot, "far", 443, "TCP")[0].port == 443
    assert find_targets(snapshot, "far", None, "ICMP")[0].address == "198.51.100.7"
    assert find_place(snapshot, "mysql").netns == find_place(snapshot, "outside/mysql").netns == "one.mysql"
    with pytest.raises(NotFoundError):
        find_place(snapshot, "outside/nobody")


def test_a_picture_has_the_hosts(snapshot: Snapshot) -> None:
    found = picture(snapshot)
    for text in (mermaid(found), dot(found)):
        assert "beside the nodes, TCP 3306" in text and "beyond the router, TCP 80, 443" in text


def test_a_host_without_ports_is_asked_by_a_port_that_is_said() -> None:
    snapshot = settle(load([("f.yaml", LAB.replace(", ports: [80, 443]", ""))]).objects)
    assert find_targets(snapshot, "far", 22, "TCP")[0].port == 22
    with pytest.raises(InputError, match="host far has no ports"):
        find_targets(snapshot, "far", None, "TCP")


def test_a_lab_of_machines_makes_no_hosts() -> None:
    text = LAB.replace("nodes: 2", "nodes: []\n  machines: true")
    with pytest.raises(ManifestError) as caught:
        load([("f.yaml", text)])
    assert any("a lab of machines makes no hosts" in problem for problem in caught.value.problems)
    assert Lab().spec.hosts == ()
