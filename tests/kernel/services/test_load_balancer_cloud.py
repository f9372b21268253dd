"""haproxy before the nodes: what a pod sees, which nodes are asked, and what becomes of those that fail."""

from __future__ import annotations

import base64
import json
import re
import shutil
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from doors import certificate

from k8snetlab.kernel import netns
from k8snetlab.messages.trace import Trace
from k8snetlab.testing import Lab, eventually, running

pytestmark = pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is missing")
CLUSTER, LOCAL = "192.168.0.200:80", "192.168.0.201:80"
PROXIED = """
apiVersion: v1
kind: Service
metadata: {name: proxied, annotations: {k8snetlab/load-balancer-ip-mode: Proxy}}
spec:
  type: LoadBalancer
  loadBalancerIP: 192.168.0.210
  selector: {app: shop}
  ports: [{port: 80, targetPort: 8080}]
"""
UDP = """
apiVersion: v1
kind: Service
metadata: {name: dns}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 53, protocol: UDP}]}
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running("cloud") as lab:
        yield lab


def answered(lab: Lab, source: str, target: str) -> str:
    """Whom the pod sees. haproxy takes connections before a node has passed its check."""
    seen: list[str] = []

    def asked() -> bool:
        answer = lab.probe(source, target)
        seen.append(answer.client)
        return answer.answeredBy in ("shop1", "shop2")

    eventually(asked)
    return seen[-1]


def asked(lab: Lab, host: str, path: str) -> str:
    return lab.exec("outside", "curl", "-s", "-H", f"Host: {host}", f"192.168.0.202{path}")


def places(trace: Trace) -> set[str]:
    return {hop.place for hop in trace.way.hops}


def test_the_scenario_is_as_it_expects(lab: Lab) -> None:
    eventually(lambda: lab.check("cloud").ok)


def test_the_pod_sees_the_balancer_or_the_node_that_masquerades(lab: Lab) -> None:
    assert answered(lab, "outside", LOCAL) == "192.168.0.1"
    assert answered(lab, "outside", CLUSTER).startswith("10.244.")
    lab.apply(PROXIED)
    status = lab.get("service", "proxied")["status"]["loadBalancer"]
    assert status["ingress"] == [{"ip": "192.168.0.210", "ipMode": "Proxy"}]
    assert lab.trace("shop1", CLUSTER).way.there[-1].place != "router", "kube-proxy leads pods past the balancer"
    assert lab.trace("shop1", "192.168.0.210:80").way.there[-1].place == "router", "and with ipMode Proxy to it"
    lab.run("delete", "svc", "proxied")


def test_layer_7_chooses_by_host_and_path_and_says_who_asked(lab: Lab) -> None:
    assert lab.get("ingress", "shop")["status"]["loadBalancer"]["ingress"][0]["ip"] == "192.168.0.202"
    eventually(lambda: "client 192.168.0.1" in asked(lab, "shop.example", "/cart/3"))
    eventually(lambda: "x-forwarded-for: 203.0.113.10" in asked(lab, "Shop.Example", "/cart").lower())
    eventually(lambda: '"pod": "shop' in asked(lab, "shop.example", "/cartoon"))
    assert asked(lab, "else.example", "/cart") == "No rule of the Ingress matches"
    assert re.search(r"shop +alb +shop.example +192.168.0.202 +80 ", lab.run("get", "ingress"))


def test_layer_7_ends_tls_by_the_name_that_is_asked_for(lab: Lab) -> None:
    """What came encrypted goes on in the clear, and a header says so."""
    hosts = {"a.example": certificate("a.example"), "b.example": certificate("b.example")}
    objects: list[Any] = [secret(host, *pair[:2]) for host, pair in hosts.items()]
    backend = {"service": {"name": "cart", "port": {"number": 80}}}
    rule = {"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    tls = [{"hosts": [host], "secretName": host} for host in hosts]
    spec = {"ingressClassName": "alb", "rules": [rule], "tls": tls}
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress"}
    objects.append({**kind, "metadata": {"name": "safe"}, "spec": spec})
    lab.apply("\n---\n".join(map(json.dumps, objects)))
    (address,) = [one["ip"] for one in lab.get("ingress", "safe")["status"]["loadBalancer"]["ingress"]]
    eventually(lambda: "x-forwarded-proto: https" in asked_safely(lab, address, "a.example")[1].lower())
    shown = {host: asked_safely(lab, address, host)[0] for host in (*hosts, "unknown.example")}
    assert shown == {host: hosts.get(host, hosts["a.example"])[2] for host in shown}
    lab.run("delete", "secret", "b.example", "a.example")
    assert "secret default/a.example does not exist, so port 443 is closed" in unserved(lab, objects[-1])
    lab.run("delete", "ingress", "safe")


def secret(name: str, certificate: str, key: str) -> dict[str, Any]:
    pair = {"tls.crt": certificate, "tls.key": key}
    data = {entry: base64.b64encode(text.encode()).decode() for entry, text in pair.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "kubernetes.io/tls", "data": data}


def unserved(lab: Lab, manifest: Any) -> str:
    """What `apply` says of it."""
    file = lab.run_directory / "again.json"
    file.write_text(json.dumps(manifest))
    _, said = lab.start("apply", "-f", str(file)).communicate()
    return " ".join(said.split())


def asked_safely(lab: Lab, address: str, host: str) -> tuple[bytes, str]:
    """The certificate that was shown, and the answer; "" where there was none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with netns.inside(lab.netns("outside")):
            raw = socket.create_connection((address, 443), timeout=10)
        with context.wrap_socket(raw, server_hostname=host) as line:
            line.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while piece := line.recv(4096):
                answer += piece
            return line.getpeercert(True) or b"", answer.decode()
    except OSError:
        return b"", ""


def test_trace_follows_the_connection_of_the_client_and_that_of_the_balancer(lab: Lab) -> None:
    def both() -> bool:
        first = lab.trace("outside", LOCAL)
        second = first.behind
        assert first.fate == "answered" and places(first) == {"outside", "router"}
        assert second is not None and second.fate == "answered" and second.observed and second.observed.agrees
        return second.source == "router" and bool({"shop1", "shop2"} & places(second))

    eventually(both)
    assert "opens a connection of its own to 192.168.0.2" in lab.run("trace", "outside", LOCAL)


def test_trace_tells_of_a_client_that_the_balancer_does_not_let_in(lab: Lab) -> None:
    """The router's kernel takes the connection, and haproxy closes it: packets alone would look well."""
    closed = {"type": "LoadBalancer", "selector": {"app": "shop"}, "loadBalancerSourceRanges": ["198.51.100.0/24"]}
    spec = {**closed, "ports": [{"port": 80, "targetPort": 8080}], "loadBalancerIP": "192.168.0.207"}
    lab.apply(json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "closed"}, "spec": spec}))
    found = lab.trace("outside", "192.168.0.207:80")
    assert found.behind is None and "loadBalancerSourceRanges of service default/closed" in found.note
    assert found.note.endswith("has not 203.0.113.10") and not lab.probe("outside", "192.168.0.207:80").answeredBy
    lab.run("delete", "svc", "closed")


def test_apply_says_what_the_balancer_cannot_do(lab: Lab) -> None:
    file = lab.run_directory / "udp.yaml"
    file.write_text(UDP)
    _, said = lab.start("apply", "-f", str(file)).communicate()
    assert "default/dns: 192.168.0.203: haproxy balances TCP alone, and port 53 is UDP" in " ".join(said.split())
    lab.run("delete", "svc", "dns")


def test_a_node_that_fails_its_check_gets_nothing_and_is_named(lab: Lab) -> None:
    port = lab.get("service", "shop-local")["spec"]["healthCheckNodePort"]
    rule = ("INPUT", "-p", "tcp", "--dport", str(port), "-j", "DROP")
    lab.exec("node1", "iptables", "-I", *rule)
    try:
        eventually(lambda: "unhealthy" in faults(lab))
        assert "node1 (" in faults(lab)["unhealthy"] and "node2" not in faults(lab)["unhealthy"]
        eventually(lambda: {lab.probe("outside", LOCAL).answeredBy for _ in range(4)} == {"shop2"})
    finally:
        lab.exec("node1", "iptables", "-D", *rule)
    eventually(lambda: lab.probe("outside", LOCAL).answeredBy == "shop1")


def faults(lab: Lab) -> dict[str, str]:
    found = lab.diagnose("--predict-only").findings
    return {one.fault: one.message for one in found if one.object == "default/shop-local"}
