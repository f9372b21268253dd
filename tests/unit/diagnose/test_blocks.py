"""Blocks that two nodes have, and routes of blocks that were left behind."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from k8snetlab.api import pools
from k8snetlab.api.core import Node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.view import RouteEntry
from k8snetlab.diagnose import blocks
from k8snetlab.diagnose.finding import Where
from k8snetlab.render.node import render
from k8snetlab.render.routing.speakers import wanted
from k8snetlab.testing.fake_cluster import FakeCluster

LAB = """{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: lab}, spec: {nodes: 3, dns: {enabled: false},
  podCIDR: 10.1.0.0/16, network: {backend: calico, ipPools: [{cidr: 10.1.0.0/16%s}]}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: one}, spec: {nodeName: node1, containers: [{name: c, image: i}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: two}, spec: {nodeName: node2, containers: [{name: c, image: i}]}}
"""
HERE = Where("lab.node1", "node1", "node", "node1")


def claimed(pool: str = "") -> Snapshot:
    """The block of node2 is node1's as well; nobody takes it away."""
    cluster = FakeCluster(LAB % pool).run()
    node = cluster.snapshot.all(Node)["", "node1"]
    told = {**node.metadata.annotations, pools.BLOCKS: "10.1.0.0/26,10.1.0.64/26"}
    cluster.store(replace(node, metadata=replace(node.metadata, annotations=told)))
    return cluster.run().snapshot


@pytest.mark.parametrize("pool", ["", ", vxlanMode: Always"])
def test_a_block_of_two_nodes_is_named_on_the_one_that_does_not_use_it(pool: str) -> None:
    held = claimed(pool)
    assert sorted(pools.blocks_of(held.all(Node)["", "node1"])) == ["10.1.0.0/26", "10.1.0.64/26"]
    (found,) = blocks.twice(held)
    assert (found.fault, found.node, found.object, found.netns) == ("twice", "node1", "10.1.0.64/26", "lab.node1")
    assert found.mend == "kubectl annotate --overwrite node node1 k8snetlab/ipam-blocks=10.1.0.0/26"
    assert [route.dst for route in wanted(held, "node1")] == []
    routes = [route.dst for route in render(held, "node1").node.routes]
    assert len(routes) == len(set(routes)), "one route to each place"


def test_no_block_is_of_two_nodes_by_itself() -> None:
    assert not [*blocks.twice(FakeCluster(LAB % "").run().snapshot)]


def test_a_blackhole_of_anothers_block_or_of_nobodys_is_named_and_bird_s_are_not() -> None:
    held = FakeCluster(LAB % "").run().snapshot
    own = (
        RouteEntry("10.1.0.0/26", "blackhole", protocol="bird"),
        RouteEntry("10.1.0.64/26", "blackhole", protocol="80"),
        RouteEntry("10.9.0.0/26", "blackhole"),
        RouteEntry("10.1.0.64/26", via="192.168.0.22", dev="eth0"),
    )
    assert not [*blocks.leaked(held, HERE, own)]
    left = (RouteEntry("10.1.0.64/26", "blackhole"), RouteEntry("10.1.9.0/26", "unreachable"))
    found = [*blocks.leaked(held, HERE, left)]
    assert [(one.fault, one.object) for one in found] == [("leaked", "10.1.0.64/26"), ("leaked", "10.1.9.0/26")]
    assert "block is node2's" in found[0].message and "block is no node's" in found[1].message
    assert found[0].mend == "ip -n lab.node1 route del blackhole 10.1.0.64/26"
