"""What is said of routes that daemons have not made, while not every node has noticed yet."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from k8snetlab.api.snapshot import Snapshot
from k8snetlab.diagnose import routing
from k8snetlab.diagnose.finding import ordered
from k8snetlab.diagnose.sessions import Session, Speaking
from k8snetlab.explain import daemons
from k8snetlab.render.routing.speakers import speakers, wanted
from k8snetlab.testing.fake_cluster import FakeCluster

LAB = """{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: lab}, spec: {nodes: 3, podCIDR: 10.1.0.0/16,
  dns: {enabled: false}, network: %s}}
---
"""
NETWORKS = {"bgp": "{backend: bgp}", "calico": "{backend: calico, ipPools: [{cidr: 10.1.0.0/16}]}"}
POD = """---
{apiVersion: v1, kind: Pod, metadata: {name: pod%d}, spec: {nodeName: node%d, containers: [{name: c, image: i}]}}
"""


def of_network(name: str) -> Snapshot:
    pods = "".join(POD % (number, number) for number in (1, 2, 3))
    return FakeCluster(LAB % NETWORKS[name] + pods).run().snapshot


def speaking(snapshot: Snapshot, name: str, stands: bool) -> Speaking:
    """It lacks all where no session stands."""
    own = tuple(speakers(snapshot, name))
    state = "Established" if stands else "Active"
    heard = [Session(other.address, state) for one in own for other in one.neighbours]
    missing = () if stands else tuple(route.dst for route in wanted(snapshot, name))
    return Speaking(name, "bird", tuple(daemons.neighbours(snapshot, own, heard)), missing)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_first_that_notices_is_named_and_needs_what_others_send_it(network: str) -> None:
    snapshot = of_network(network)
    nodes = [speaking(snapshot, f"node{number}", stands=number != 1) for number in (1, 2, 3)]
    assert len(nodes[0].missing) == 2
    (found,) = routing.missing(snapshot, nodes[:1], nodes)
    assert (found.fault, found.node) == ("deaf", "node1")
    assert len(found.explains) == 2 and "10.1." in found.explains[0]
    assert {"node2 192.168.0.21:179", "node3 192.168.0.21:179", "node1 192.168.0.22:179"} <= set(found.needs)
    asked = {path.words: path for path in routing.needed(snapshot, nodes[0])}
    assert set(found.needs) <= set(asked)
    assert asked["node2 192.168.0.21:179"].origin.endswith("node2")
    rule = replace(found, kind="rule", message="a rule", explains=(), needs=(), broken=("node3 192.168.0.21:179: no",))
    (first,) = ordered([found, rule])
    assert first.kind == "rule" and found.message in first.explains


def test_a_node_is_not_deaf_where_nobody_hears_anybody_else() -> None:
    snapshot = of_network("calico")
    nodes = [speaking(snapshot, f"node{number}", stands=False) for number in (1, 2, 3)]
    assert {one.fault for one in routing.missing(snapshot, nodes, nodes)} == {"missing"}
    believes = replace(nodes[1], neighbours=tuple(replace(one, state="Established") for one in nodes[1].neighbours[:1]))
    assert believes.neighbours[0].name == "node1"
    assert {one.fault for one in routing.missing(snapshot, nodes[:1], [nodes[0], believes])} == {"missing"}
