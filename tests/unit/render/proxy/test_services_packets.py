"""Where kube-proxy's rules send packets, feature by feature: asked of the tracer, as kube-proxy's own tests do."""

from __future__ import annotations

from typing import Any

import pytest

from k8snetlab.dataplane import names
from k8snetlab.testing.services import (
    NODE1,
    NODE2,
    OUTSIDE,
    POD1,
    POD1_V6,
    POD2,
    POD2_V6,
    POD3,
    VIP,
    VIP6,
    cluster,
    endpoint,
    fate,
    proxy,
    send,
    service,
    slice_of,
    web,
)

LB = "198.51.100.9"
NODE_PORT: dict[str, Any] = {"ports": [{"name": "http", "port": 80, "nodePort": 30080}], "type": "NodePort"}
LOCAL: dict[str, Any] = {"externalTrafficPolicy": "Local"}
EP1, EP2 = f"{POD1}:8080", f"{POD2}:8080"


def test_pod_to_cluster_ip_keeps_its_address() -> None:
    outcomes = send(cluster(*web()), "10.244.1.7", VIP)
    assert fate(outcomes) == {EP1: "sent", EP2: "sent"}
    assert [o.probability for o in outcomes] == [0.5, 0.5]


def test_node_and_outside_to_cluster_ip_are_masqueraded() -> None:
    snapshot = cluster(*web())
    assert fate(send(snapshot, NODE1, VIP)) == {EP1: "sent, masqueraded", EP2: "sent, masqueraded"}
    assert fate(send(snapshot, OUTSIDE, VIP)) == {EP1: "sent, masqueraded", EP2: "sent, masqueraded"}


def test_hairpin_is_masqueraded() -> None:
    assert fate(send(cluster(*web()), POD1, VIP)) == {EP1: "sent, masqueraded", EP2: "sent"}


def test_other_ports_and_protocols_are_not_caught() -> None:
    snapshot = cluster(*web())
    assert fate(send(snapshot, POD1, VIP, 81)) == {"": "sent"}
    assert fate(send(snapshot, POD1, VIP, protocol="udp")) == {"": "sent"}


def test_a_node_port_reached_from_outside_is_masqueraded() -> None:
    snapshot = cluster(*web(**NODE_PORT))
    assert fate(send(snapshot, OUTSIDE, NODE1, 30080)) == {EP1: "sent, masqueraded", EP2: "sent, masqueraded"}
    assert fate(send(snapshot, "127.0.0.1", "127.0.0.1", 30080)) == {EP1: "sent, masqueraded", EP2: "sent, masqueraded"}
    assert fate(send(snapshot, OUTSIDE, NODE2, 30080)) == {"": "sent"}


def test_localhost_node_ports_can_be_off() -> None:
    snapshot = cluster(*web(**NODE_PORT), proxy(iptables={"localhostNodePorts": False}))
    assert fate(send(snapshot, "127.0.0.1", "127.0.0.1", 30080)) == {"": "delivered"}
    assert fate(send(snapshot, NODE1, NODE1, 30080)).keys() == {EP1, EP2}


def test_a_node_port_answers_only_on_node_port_addresses() -> None:
    snapshot = cluster(*web(**NODE_PORT), proxy(nodePortAddresses=["10.0.0.0/8"]))
    assert fate(send(snapshot, OUTSIDE, NODE1, 30080)) == {"": "delivered"}
    assert fate(send(snapshot, POD1, "10.244.1.1", 30080)).keys() == {EP1, EP2}


def test_martian_packets_to_localhost_are_dropped() -> None:
    outcomes = send(cluster(), OUTSIDE, "127.0.0.1", 10249)
    assert fate(outcomes) == {"": "dropped"} and outcomes[0].steps[-1].chain == "KUBE-FIREWALL"


def test_external_policy_local_keeps_outside_traffic_on_the_node() -> None:
    snapshot = cluster(*web(**NODE_PORT, **LOCAL))
    assert fate(send(snapshot, OUTSIDE, NODE1, 30080)) == {EP1: "sent"}
    assert fate(send(snapshot, OUTSIDE, NODE2, 30080, node="node2")) == {EP2: "sent"}
    assert fate(send(snapshot, "10.244.1.7", NODE1, 30080)) == {EP1: "sent", EP2: "sent"}
    assert fate(send(snapshot, NODE1, NODE1, 30080)) == {EP1: "sent, masqueraded", EP2: "sent, masqueraded"}


def test_external_policy_local_without_local_endpoints() -> None:
    snapshot = cluster(*web(endpoint(POD2, "node2"), **NODE_PORT, **LOCAL))
    assert fate(send(snapshot, OUTSIDE, NODE1, 30080)) == {"": "dropped"}
    assert fate(send(snapshot, "10.244.1.7", NODE1, 30080)) == {EP2: "sent"}
    assert fate(send(snapshot, OUTSIDE, VIP)) == {EP2: "sent, masqueraded"}


def test_internal_policy_local_uses_only_the_nodes_own_endpoints() -> None:
    assert fate(send(cluster(*web(internalTrafficPolicy="Local")), "10.244.1.7", VIP)) == {EP1: "sent"}
    elsewhere = cluster(*web(endpoint(POD2, "node2"), internalTrafficPolicy="Local"))
    assert fate(send(elsewhere, "10.244.1.7", VIP)) == {"": "dropped"}


@pytest.mark.parametrize("src", [POD1, NODE1, OUTSIDE])
def test_no_endpoints_reject(src: str) -> None:
    snapshot = cluster(service(**NODE_PORT, externalIPs=["198.51.100.1"], ingress=[LB]))
    for dst, port in ((VIP, 80), ("198.51.100.1", 80), (LB, 80), (NODE1, 30080)):
        if (src, dst) in ((NODE1, "198.51.100.1"), (NODE1, LB)):
            continue  # OUTPUT has no jump to KUBE-EXTERNAL-SERVICES
        assert fate(send(snapshot, src, dst, port)) == {"": "rejected"}, dst


def test_established_connections_outlive_their_endpoints() -> None:
    assert fate(send(cluster(service()), POD1, VIP, state="ESTABLISHED")) == {"": "sent"}


def test_invalid_packets_are_dropped_unless_tcp_be_liberal() -> None:
    assert fate(send(cluster(), POD1, POD2, state="INVALID")) == {"": "dropped"}
    liberal = cluster(proxy(conntrack={"tcpBeLiberal": True}))
    assert fate(send(liberal, POD1, POD2, state="INVALID")) == {"": "sent"}


def test_load_balancer_and_external_ip() -> None:
    snapshot = cluster(*web(externalIPs=["198.51.100.1"], type="LoadBalancer", ingress=[LB]))
    for dst in ("198.51.100.1", LB):
        assert fate(send(snapshot, OUTSIDE, dst)) == {EP1: "sent, masqueraded", EP2: "sent, masqueraded"}
    local = cluster(*web(type="LoadBalancer", ingress=[LB], **LOCAL))
    assert fate(send(local, OUTSIDE, LB)) == {EP1: "sent"}


def test_load_balancers_in_proxy_mode_are_not_caught() -> None:
    snapshot = cluster(*web(type="LoadBalancer", ingress=[{"ip": LB, "ipMode": "Proxy"}]))
    assert fate(send(snapshot, OUTSIDE, LB)) == {"": "sent"}


def test_source_ranges() -> None:
    spec: dict[str, Any] = {"type": "LoadBalancer", "ingress": [LB], "loadBalancerSourceRanges": ["203.0.113.0/24"]}
    snapshot = cluster(*web(**spec))
    assert fate(send(snapshot, OUTSIDE, LB)).keys() == {EP1, EP2}
    assert fate(send(snapshot, "203.0.114.1", LB)) == {"": "dropped"}
    assert fate(send(snapshot, NODE1, LB)) == {"": "dropped"}
    assert fate(send(snapshot, "203.0.114.1", VIP)).keys() == {EP1, EP2}


def test_session_affinity_returns_to_the_endpoint_met_before() -> None:
    snapshot = cluster(*web(sessionAffinity="ClientIP"))
    met = names.endpoint_chain("default/web:http", "tcp", EP2)
    assert fate(send(snapshot, "10.244.1.7", VIP)) == {EP1: "sent", EP2: "sent"}
    outcomes = send(snapshot, "10.244.1.7", VIP, recent=frozenset({met}))
    assert fate(outcomes) == {EP2: "sent"} and outcomes[0].probability == 1


def test_terminating_endpoints_serve_while_no_other_does() -> None:
    draining = {"ready": False, "serving": True, "terminating": True}
    ends = [endpoint(POD1, "node1", **draining), endpoint(POD2, "node2", **draining)]
    snapshot = cluster(*web(*ends, **NODE_PORT, **LOCAL))
    assert fate(send(snapshot, "10.244.1.7", VIP)) == {EP1: "sent", EP2: "sent"}
    assert fate(send(snapshot, OUTSIDE, NODE1, 30080)) == {EP1: "sent"}
    mixed = cluster(*web(ends[0], endpoint(POD3, "node2"), **NODE_PORT, **LOCAL))
    assert fate(send(mixed, "10.244.1.7", VIP)) == {f"{POD3}:8080": "sent"}
    assert fate(send(mixed, OUTSIDE, NODE1, 30080)) == {EP1: "sent"}


def test_zone_hints() -> None:
    snapshot = cluster(*web(endpoint(POD1, "node1", zones="a"), endpoint(POD2, "node2", zones="b")))
    assert fate(send(snapshot, POD3, VIP, node="node2")) == {EP2: "sent"}
    assert fate(send(snapshot, "10.244.1.7", VIP)) == {EP1: "sent"}


def test_masquerade_all_masquerades_pods_too() -> None:
    snapshot = cluster(*web(), proxy(iptables={"masqueradeAll": True}))
    assert fate(send(snapshot, "10.244.1.7", VIP)) == {EP1: "sent, masqueraded", EP2: "sent, masqueraded"}


def test_traffic_from_the_bridge_is_local_where_that_is_the_mode() -> None:
    config = proxy(detectLocalMode="BridgeInterface", detectLocal={"bridgeInterface": "cni0"})
    snapshot = cluster(*web(), config)
    assert fate(send(snapshot, "10.244.1.7", VIP)) == {EP1: "sent", EP2: "sent"}
    assert fate(send(snapshot, "10.244.2.7", VIP)) == {EP1: "sent, masqueraded", EP2: "sent, masqueraded"}
    assert fate(send(snapshot, NODE1, VIP)) == {EP1: "sent, masqueraded", EP2: "sent, masqueraded"}


def test_a_service_of_ipv6_is_reached_as_one_of_ipv4() -> None:
    six = slice_of("web", endpoint(POD1_V6, "node1"), endpoint(POD2_V6, "node2"), addressType="IPv6")
    snapshot = cluster(service(clusterIPs=[VIP6], **NODE_PORT), six)
    one, two = f"[{POD1_V6}]:8080", f"[{POD2_V6}]:8080"
    assert fate(send(snapshot, POD1_V6, VIP6, family="ipv6")) == {one: "sent, masqueraded", two: "sent"}
    assert fate(send(snapshot, "2001:db9::1", "2001:db8::21", 30080, family="ipv6")).keys() == {one, two}
    assert fate(send(snapshot, "::1", "::1", 30080, family="ipv6")) == {"": "delivered"}


def test_an_endpoint_on_the_node_itself_is_delivered() -> None:
    snapshot = cluster(*web(endpoint(NODE1, "node1")))
    assert fate(send(snapshot, POD1, VIP)) == {f"{NODE1}:8080": "delivered"}
    assert fate(send(snapshot, NODE1, VIP)) == {f"{NODE1}:8080": "delivered, masqueraded"}


def test_steps_tell_the_rules_met() -> None:
    outcome = send(cluster(*web(endpoint(POD1, "node1"))), "10.244.1.7", VIP)[0]
    svc, sep = names.service_chain("default/web:http", "tcp"), names.endpoint_chain("default/web:http", "tcp", EP1)
    assert [(s.table, s.chain, s.number) for s in outcome.steps] == [
        ("nat", "PREROUTING", 1),
        ("nat", "KUBE-SERVICES", 1),
        ("nat", svc, 2),
        ("nat", sep, 2),
        ("filter", "FORWARD", 1),
        ("filter", "FORWARD", 2),
        ("filter", "FORWARD", 3),
        ("filter", "FORWARD", 4),
        ("nat", "POSTROUTING", 1),
        ("nat", "KUBE-POSTROUTING", 1),
    ]
    assert outcome.packet.dst == POD1 and outcome.packet.dport == 8080
