"""Which node announces an address, and why none does: MetalLB's order, and its conditions."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from msgspec.structs import replace

from k8snetlab.api.core import Node, Service
from k8snetlab.api.lab import Lab, LabSpec
from k8snetlab.api.load_balancer import EXCLUDED, LoadBalancer
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.routing import Route
from k8snetlab.render import underlay
from k8snetlab.render.lb import candidates, speaker
from k8snetlab.testing.services import endpoint, node, service, slice_of

IP = "192.168.0.200"
NODES = ("node1", "node2", "node3")


def excluded(one: Node) -> Node:
    return replace(one, metadata=replace(one.metadata, labels={EXCLUDED: ""}))


def cluster(*endpoints: dict[str, Any], out: tuple[str, ...] = (), mode: Any = "l2", **spec: Any) -> Snapshot:
    nodes = [node(name, f"192.168.0.{21 + number}") for number, name in enumerate(NODES)]
    nodes = [excluded(one) if one.name in out else one for one in nodes]
    lab = Lab(spec=LabSpec(loadBalancer=LoadBalancer(mode, (f"{IP}-{IP}",))))
    web = service("web", ingress=[IP], type="LoadBalancer", **spec)
    return Snapshot.of([lab, *nodes, web, slice_of("web", *endpoints)])


def test_nodes_are_ordered_by_the_hash_of_name_and_address() -> None:
    found = candidates.order(IP, NODES)
    assert found == tuple(sorted(NODES, key=lambda name: hashlib.sha256(f"{name}#{IP}".encode()).hexdigest()))
    assert {candidates.order(f"192.168.0.{n}", NODES)[0] for n in range(200, 220)} == {*NODES}, "they spread"


LOCAL = {"externalTrafficPolicy": "Local"}
ON1, ON2 = endpoint("10.244.1.5", "node1"), endpoint("10.244.2.5", "node2")
NO_ENDPOINT = "no node announces it: the Service has no ready endpoint"
NO_LOCAL = "no node announces it: externalTrafficPolicy is Local, and no node that may has a ready endpoint"


@pytest.mark.parametrize(
    ("snapshot", "nodes", "why"),
    [
        (cluster(ON1), {"node1", "node2", "node3"}, ""),
        (cluster(ON1, **LOCAL), {"node1"}, ""),
        (cluster(ON1, ON2, out=("node1",), **LOCAL), {"node2"}, ""),
        (cluster(ON1, out=("node1",)), {"node2", "node3"}, ""),
        (cluster(), set(), NO_ENDPOINT),
        (cluster(endpoint("10.244.1.5", "node1", ready=False, serving=False)), set(), NO_ENDPOINT),
        (cluster(endpoint("10.244.1.5", "node1", ready=False, serving=True), **LOCAL), {"node1"}, ""),
        (cluster(ON1, out=("node1",), **LOCAL), set(), NO_LOCAL),
        (cluster(ON1, out=NODES), set(), f"no node announces it: every node has the label {EXCLUDED}"),
    ],
)  # fmt: skip
def test_candidates_are_nodes_that_may_and_with_local_have_an_endpoint(
    snapshot: Snapshot, nodes: set[str], why: str
) -> None:
    (web,) = snapshot.all(Service).values()
    assert set(candidates.announced(snapshot)[IP]) == nodes
    assert candidates.lacking(web, snapshot) == why


def test_a_speaker_knows_the_addresses_that_may_be_its_own() -> None:
    snapshot = cluster(ON1, **LOCAL)
    assert json.loads(speaker.configuration(snapshot, "node1")) == {"addresses": {IP: ["node1"]}}
    assert json.loads(speaker.configuration(snapshot, "node2")) == {"addresses": {}}


def routes(snapshot: Snapshot) -> list[Route]:
    return [route for route in underlay.render(snapshot).node.routes if route.dst == f"{IP}/32"]


def test_the_router_has_no_route_to_an_address_that_a_node_announces() -> None:
    assert not routes(cluster(ON1))
    assert [route.via for route in routes(cluster(ON1, mode="none"))] == ["192.168.0.21"]
    assert routes(cluster(ON1, loadBalancerClass="other")), "another's address is led as before"
