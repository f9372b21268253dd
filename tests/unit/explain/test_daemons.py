"""Whom a node's daemon should have as neighbours, beside whom it says it has."""

from __future__ import annotations

from k8snetlab.diagnose.sessions import Session
from k8snetlab.explain.daemons import neighbours
from k8snetlab.render.routing.speakers import speakers
from k8snetlab.testing.fake_cluster import FakeCluster

DUAL = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
metadata: {name: lab}
spec:
  nodes: 2
  dns: {enabled: false}
  podCIDR: 10.244.0.0/16,fd00:244::/56
  serviceCIDR: 10.96.0.0/16,fd00:96::/112
  underlay: {cidr: "192.168.0.0/24,fd00:1::/64", outside: "203.0.113.10/24,fd00:2::10/64"}
  network: {backend: ospf}
"""


def test_ospfs_neighbours_of_either_family_are_named_by_their_router_ids() -> None:
    snapshot = FakeCluster(DUAL).run().snapshot
    own = tuple(speakers(snapshot, "node1"))
    heard = [Session("192.168.0.1", "Full/DR", family=one.family) for one in own]
    heard.append(Session("192.168.0.22", "Full/BDR", family="ipv4"))
    found = [(one.name, one.family, one.state) for one in neighbours(snapshot, own, heard)]
    assert found == [
        ("router", "ipv4", "Full/DR"),
        ("node2", "ipv4", "Full/BDR"),
        ("router", "ipv6", "Full/DR"),
        ("node2", "ipv6", ""),
    ]
