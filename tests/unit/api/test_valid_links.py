"""What a lab file may say of several links, and what is wrong with it, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from k8snetlab.api import topology
from k8snetlab.api.lab import Lab
from k8snetlab.api.load import load
from k8snetlab.errors import ManifestError
from k8snetlab.testing.fake_cluster import FakeCluster

RACKS = (Path(__file__).parents[3] / "scenarios" / "racks" / "lab.yaml").read_text()
UP1 = "{name: up1, cidr: 192.168.11.0/30, routers: [spine, leaf1]}"
WRONG = {
    (UP1, UP1.replace("11.0/30", "1.0/30")): "spec.underlay.links[2].cidr: 192.168.1.0/30 overlaps the network of link",
    (UP1, UP1.replace("192.168.11", "10.0.0")): "cidr: 10.0.0.0/30 is no part of spec.underlay.cidr 192.168.0.0/16",
    (UP1, UP1.replace("up1", "node1")): 'name: "node1" is taken already',
    (UP1, UP1.replace("up1", "a-link-too-long")): "name: a-link-too-long is too long for a device; at most 12 letters",
    (UP1, UP1.replace("leaf1", "leaf9")): "routers: 'leaf9' is no router; name it in spec.underlay.routers",
    (UP1, UP1.replace("leaf1", "spine")): "routers: names somebody twice",
    (UP1, UP1.replace("11.0/30", "11.0/31")): "is too small for 2 routers and 0 nodes",
    (UP1, UP1.replace("routers", "cost: 0, routers")): "cost",
    ("nodes: [node3]", "nodes: [node3, node1]"): "nodes: node1 stands on another link already; a node has one",
    ("nodes: [node3]", "nodes: []"): "spec.nodes[2]: node3 is on no link",
    ("nodes: [node3]", "nodes: [node3, node7]"): "nodes: 'node7' is no node of this lab",
    ("[leaf1, leaf2, spine]", "[leaf1, leaf2, spine, idle]"): "routers[3]: idle is on no link",
    ("[leaf1, leaf2, spine]", "[leaf1, leaf2, spine, node1]"): 'routers[3]: "node1" is taken already',
    (
        "{backend: ospf}",
        "{backend: bgp, routing: {asNumber: 4294967291}}",
    ): "asNumber: each router has the next one",
    ("{backend: ospf}", "{backend: bgp, routing: {asNumber: 4294967290}}"): "",
    ("{backend: ospf}", "{backend: host-gw}"): "host-gw needs every node on one link; several links go with",
    ("{backend: ospf}", "{backend: calico}"): "spec.network: nodes stand on several links, and routers between know",
    ("{backend: ospf}", "{backend: calico, ipPools: [{cidr: 10.244.0.0/16}]}"): "ipPools[0].vxlanMode: is Never, but",
    ("{backend: ospf}", "{backend: calico, ipPools: [{cidr: 10.244.0.0/16, ipipMode: CrossSubnet}]}"): "",
    ("{backend: ospf}", "{backend: calico, bgp: {peers: [{peerIP: 192.168.1.1, asNumber: 1}]}}"): (
        "spec.network.bgp.peers: node3 has no session with a router of its link rack2; name 192.168.2.1 as its peer"
    ),
    ("{backend: ospf}", "{backend: calico, bgp: {peers: [{peerIP: 192.168.1.1, asNumber: 2}]} }"): (
        "peers[0].keepOriginalNextHop: is not said: nodes that hear of each other tell leaf1 of each other's pods too"
    ),
    ("  nodes: 3", "  nodes: 3\n  loadBalancer: {mode: bgp, pool: [198.51.100.0/28]}"): "needs every node on one link",
    ("{name: up1,", "{name: up1, cost: 5,"): "",
}


@pytest.mark.parametrize(("before", "after"), WRONG, ids=[after[:40] for _, after in WRONG])
def test_what_cannot_be_is_refused_with_file_line_and_field(before: str, after: str) -> None:
    assert before in RACKS
    text = RACKS.replace(before, after, 1)
    if not (words := WRONG[before, after]):
        load([("lab.yaml", text)])
        return
    with pytest.raises(ManifestError) as failure:
        load([("lab.yaml", text)])
    assert any(one.startswith("lab.yaml:") and words in one for one in failure.value.problems), failure.value.problems


def test_what_is_apart_from_the_router_is_named() -> None:
    apart = RACKS.replace("[router, leaf2]", "[router]").replace("[spine, leaf2]", "[leaf2]")
    with pytest.raises(ManifestError) as failure:
        load([("lab.yaml", apart)])
    assert any("rack2 is apart: no way leads from it to router" in one for one in failure.value.problems)


def ways(lab: Lab, start: str, *down: tuple[str, str]) -> list[str]:
    """To the link rack2."""
    link = next(link for link in lab.spec.underlay.links if link.name == "rack2")
    return [end.name for end in topology.ways(lab, start, link, frozenset(down))]


def test_routers_have_the_first_addresses_and_the_cheapest_way_is_found() -> None:
    snapshot = FakeCluster(RACKS.replace("{name: up1,", "{name: up1, cost: 5,")).run().snapshot
    lab = next(iter(snapshot.all(Lab).values()))
    assert [(end.name, end.address, end.device) for end in topology.of(lab, "leaf1")] == [
        ("leaf1", "192.168.1.1", "rack1"),
        ("leaf1", "192.168.11.2", "up1"),
        ("leaf1", "192.168.13.2", "up3"),
    ]
    assert topology.of(lab, "node3")[0].address == "192.168.2.21" and lab.spec.underlay.router == "192.168.13.1"
    assert topology.distances(lab, "leaf1") == {"leaf1": 0, "spine": 5, "router": 10, "leaf2": 15}
    hop = topology.next_hop(lab, "leaf1", ("leaf2",))
    assert hop is not None and (hop.name, hop.address) == ("spine", "192.168.11.1")
    assert ways(lab, "leaf1") == ["spine"] and ways(lab, "node1") == ["leaf1"] and ways(lab, "leaf2") == []
    assert ways(lab, "leaf1", ("spine", "up2")) == ["router"]
    assert ways(next(iter(FakeCluster(RACKS).run().snapshot.all(Lab).values())), "leaf1") == ["spine", "router"]
    dear = FakeCluster(RACKS.replace("{name: up2,", "{name: up2, cost: 90,")).run().snapshot
    hop = topology.next_hop(next(iter(dear.all(Lab).values())), "leaf1", ("leaf2",))
    assert hop is not None and hop.name == "router"
