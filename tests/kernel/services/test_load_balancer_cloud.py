"""haproxy before the nodes: what a pod sees, which nodes are asked, and what becomes of those that fail."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from k8snetlab.messages.trace import Trace
from k8snetlab.testing import Lab, eventually

pytestmark = pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is missing")
LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec:
  dns: {enabled: false}
  nodes: 2
  loadBalancer: {mode: cloud, pool: [192.168.0.200-192.168.0.209]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {nodeName: node1, containers: [{name: c, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: cluster}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: local}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: proxied, annotations: {k8snetlab/load-balancer-ip-mode: Proxy}}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""
CLUSTER, LOCAL, PROXIED = (f"192.168.0.{number}:80" for number in (200, 201, 202))
UDP = """
apiVersion: v1
kind: Service
metadata: {name: dns}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 53, protocol: UDP}]}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("cloud")
    (directory / "lab.yaml").write_text(LAB)
    lab = Lab(directory)
    lab.up(directory / "lab.yaml")
    yield lab
    lab.down()


def client(lab: Lab, source: str, target: str) -> str:
    """Whom the pod sees."""
    answer = lab.probe(source, target)
    assert answer.answeredBy == "web", answer
    return answer.client


def places(trace: Trace) -> set[str]:
    return {hop.place for hop in trace.way.hops}


def test_the_pod_sees_the_balancer_or_the_node_that_masquerades(lab: Lab) -> None:
    assert client(lab, "outside", LOCAL) == "192.168.0.1"
    assert client(lab, "outside", CLUSTER).startswith("10.244.")
    assert client(lab, "node2", LOCAL) != "192.168.0.1", "kube-proxy leads nodes past the balancer"
    assert lab.get("service", "proxied")["status"]["loadBalancer"]["ingress"] == [
        {"ip": "192.168.0.202", "ipMode": "Proxy"}
    ]
    assert lab.trace("node2", PROXIED).way.there[-1].place == "router", "and with ipMode Proxy to it"


def test_trace_follows_the_connection_of_the_client_and_that_of_the_balancer(lab: Lab) -> None:
    def both() -> bool:
        first = lab.trace("outside", LOCAL)
        second = first.behind
        assert first.fate == "answered" and places(first) == {"outside", "router"}
        assert second is not None and second.fate == "answered" and second.observed and second.observed.agrees
        return (second.source, second.address) == ("router", "192.168.0.21") and "web" in places(second)

    eventually(both)
    assert "opens a connection of its own to 192.168.0.21:" in lab.run("trace", "outside", LOCAL)


def test_apply_says_what_the_balancer_cannot_do(lab: Lab) -> None:
    file = lab.run_directory / "udp.yaml"
    file.write_text(UDP)
    _, said = lab.start("apply", "-f", str(file)).communicate()
    assert "default/dns: 192.168.0.203: haproxy balances TCP alone, and port 53 is UDP" in " ".join(said.split())
    lab.run("delete", "svc", "dns")


def test_a_node_that_fails_its_check_gets_nothing_and_is_named(lab: Lab) -> None:
    service = lab.get("service", "local")
    port = service["spec"]["healthCheckNodePort"]
    rule = ("INPUT", "-p", "tcp", "--dport", str(port), "-j", "DROP")
    lab.exec("node1", "iptables", "-I", *rule)
    try:
        eventually(lambda: not lab.probe("outside", LOCAL).reached or not lab.probe("outside", LOCAL).answeredBy)
        faults = {(one.fault, one.object): one.message for one in lab.diagnose("--predict-only").findings}
        assert "node1" in faults["unhealthy", "default/local"]
    finally:
        lab.exec("node1", "iptables", "-D", *rule)
    eventually(lambda: client(lab, "outside", LOCAL) == "192.168.0.1")
