"""What kube-proxy does with Services besides writing rules: health checks answered, stale UDP connections named."""

from __future__ import annotations

from typing import Any

from k8snetlab.api.core import Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.render.proxy import ProxyRules, health_checks, stale_udp
from k8snetlab.testing.services import POD1, POD2, VIP, cluster, endpoint, service, slice_of, web

DNS = {"name": "dns", "port": 53, "protocol": "UDP", "nodePort": 30053}
LOCAL: dict[str, Any] = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000}


def build(snapshot: Snapshot, node: str = "node1") -> ProxyRules:
    return ProxyRules.build(snapshot, node, "ipv4")


def dns(*ips: str, **conditions: bool) -> EndpointSlice:
    return slice_of("web", *(endpoint(ip, **conditions) for ip in ips), ports=[DNS | {"port": 5353}])


def test_a_health_check_tells_whether_endpoints_are_here() -> None:
    ready = [endpoint(POD1, "node1"), endpoint("10.244.1.6", "node1", ready=False), endpoint("10.244.1.7", "node1")]
    snapshot = cluster(*web(*ready, **LOCAL))
    here, there = health_checks(build(snapshot))[31000], health_checks(build(snapshot, "node2"))[31000]
    assert (here.status, there.status) == (200, 503)
    assert here.body == {
        "service": {"namespace": "default", "name": "web"},
        "localEndpoints": 2,
        "serviceProxyHealthy": True,
    }


def test_only_local_load_balancers_have_one() -> None:
    assert not health_checks(build(cluster(*web(**LOCAL | {"externalTrafficPolicy": "Cluster"}))))
    assert not health_checks(build(cluster(*web(**LOCAL | {"type": "NodePort"}))))


def test_connections_to_a_gone_endpoint_are_stale() -> None:
    spec: dict[str, Any] = {"externalIPs": ["198.51.100.1"], "type": "LoadBalancer", "ingress": ["198.51.100.9"]}
    snapshot = cluster(service(ports=[DNS], **spec), dns(POD1, POD2))
    old = build(snapshot)
    new, _ = old.update(snapshot.changed([(EndpointSlice, ("default", "web-abcde"), dns(POD2))], 2))
    left = frozenset({f"{POD2}:5353"})
    assert stale_udp(old, new) == {
        (VIP, 53): left,
        ("198.51.100.1", 53): left,
        ("198.51.100.9", 53): left,
        ("", 30053): left,
    }
    assert stale_udp(new, new) == {}


def test_connections_to_a_gone_service_or_without_endpoints_are_stale() -> None:
    snapshot = cluster(service(ports=[DNS]), dns(POD1))
    old = build(snapshot)
    gone, _ = old.update(snapshot.changed([(Service, ("default", "web"), None)], 2))
    assert stale_udp(old, gone) == {(VIP, 53): frozenset(), ("", 30053): frozenset()}
    assert stale_udp(gone, old)[VIP, 53] == {f"{POD1}:5353"}
    empty, _ = old.update(snapshot.changed([(EndpointSlice, ("default", "web-abcde"), None)], 2))
    assert stale_udp(old, empty)[VIP, 53] == frozenset()


def test_endpoints_that_serve_while_terminating_keep_their_connections() -> None:
    snapshot = cluster(service(ports=[DNS]), dns(POD1))
    old = build(snapshot)
    draining = dns(POD1, ready=False, serving=True, terminating=True)
    new, _ = old.update(snapshot.changed([(EndpointSlice, ("default", "web-abcde"), draining)], 2))
    assert stale_udp(old, new)[VIP, 53] == {f"{POD1}:5353"}


def test_tcp_is_left_alone() -> None:
    snapshot = cluster(*web())
    old = build(snapshot)
    new, _ = old.update(snapshot.changed([(Service, ("default", "web"), None)], 2))
    assert stale_udp(old, new) == {}
