"""What is found to be wrong with load balancers."""

from __future__ import annotations

from typing import Any

import pytest

from k8snetlab.api.lab import Lab, LabSpec
from k8snetlab.api.load_balancer import LoadBalancer
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.names import UNDERLAY_BRIDGE, pod_mac
from k8snetlab.dataplane.view import NeighbourEntry
from k8snetlab.diagnose import balancers
from k8snetlab.testing.services import endpoint, node, service, slice_of

IP = "192.168.0.200"
MAC1, MAC2 = pod_mac("192.168.0.21"), pod_mac("192.168.0.22")


def cluster(ingress: tuple[str, ...] = (IP,), mode: Any = "l2", **spec: Any) -> Snapshot:
    lab = Lab(spec=LabSpec(loadBalancer=LoadBalancer(mode, (f"{IP}-{IP}",))))
    nodes = [node("node1", "192.168.0.21"), node("node2", "192.168.0.22")]
    web = service("web", [{"port": 80, "nodePort": 30080}], ingress=ingress, type="LoadBalancer", **spec)
    return Snapshot.of([lab, *nodes, web, slice_of("web", endpoint("10.244.1.5", "node1"))])


def answered(*macs: str, known: str = "") -> list[tuple[str, str]]:
    entries = [NeighbourEntry(UNDERLAY_BRIDGE, IP, known, "PERMANENT")] if known else []
    found = balancers.answered(cluster(), {IP: macs}, entries, {IP: ("node1",)})
    return [(one.fault, one.message) for one in found]


def test_an_address_that_one_node_answers_for_is_well() -> None:
    assert not answered(MAC1) and not answered(MAC1, known=MAC1)


def test_an_address_that_nobody_answers_for_is_named() -> None:
    assert answered() == [("unannounced", f"Service default/web, {IP}: nobody answers ARP for it")]


def test_two_that_answer_are_named_and_the_one_that_must_not_is_mended() -> None:
    assert answered(MAC2, MAC1) == [("duplicate", f"Service default/web, {IP}: node2 and node1 answer ARP for it")]
    (found,) = balancers.answered(cluster(), {IP: (MAC1, MAC2)}, (), {IP: ("node1",)})
    assert found.mend == f"k8snetlab exec node2 -- ip address del {IP}/32 dev eth0"


def test_a_router_that_knows_another_node_is_named() -> None:
    (said,) = answered(MAC1, known=MAC2)
    assert said == (
        "misled",
        f"Service default/web, {IP} is announced by node1, and the router sends to node2 (permanent)",
    )


def test_a_service_without_an_address_is_named_with_its_reason() -> None:
    full = Snapshot.of([*cluster().all(Lab).values()])
    assert not list(balancers.pending(full))
    wanting = cluster(ingress=(), loadBalancerIP="10.0.0.1")
    (found,) = balancers.pending(wanting)
    assert found.message.endswith('gets no address of the load balancer: ["10.0.0.1"] is not allowed in config')


@pytest.mark.parametrize(
    ("state", "found"), [("UP", []), ("UP 1/2", []), ("DOWN", ["unhealthy"]), ("DOWN 1/2", ["unhealthy"])]
)
def test_a_node_that_fails_a_health_check_is_named(state: str, found: list[str]) -> None:
    servers = [balancers.Server("default:web:80", "node1", state, "Layer4 timeout")]
    faults = list(balancers.unhealthy(cluster(mode="cloud"), servers))
    assert [one.fault for one in faults] == found
    for one in faults:
        assert "node1 (Layer4 timeout) fails the load balancer's check of port 30080" in one.message


def test_with_local_a_node_without_a_pod_may_fail_its_check() -> None:
    servers = [balancers.Server("default:web:80", "node2", "DOWN", "Layer7 wrong status")]
    local = {"externalTrafficPolicy": "Local", "healthCheckNodePort": 32000}
    assert not list(balancers.unhealthy(cluster(mode="cloud", **local), servers))
