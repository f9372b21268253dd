"""What kube-proxy does besides rules, in a running lab: UDP connections are forgotten, health checks answered."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live import PATIENCE, Target, exchange

from k8snetlab.kernel import conntrack, netns
from k8snetlab.testing import Lab, eventually

CTA_TUPLE_ORIG = 1
"""Of a connection: its addresses and ports as the client sent them."""
POD = """
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: dns}}}}
spec:
  nodeName: {node}
  containers: [{{name: c, ports: [{{containerPort: 5353, protocol: UDP}}, {{containerPort: 80}}]}}]
"""
BASE = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 2, dns: {enabled: false}}
---
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app: client}}
spec: {nodeName: node1, containers: [{name: c, ports: [{containerPort: 5353, protocol: UDP}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: other}
spec: {clusterIP: 10.96.0.9, selector: {app: client}, ports: [{port: 53, targetPort: 5353, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {name: balanced}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.11
  externalTrafficPolicy: Local
  healthCheckNodePort: 31000
  selector: {app: dns}
  ports: [{port: 80, nodePort: 30080}]
"""
DNS = """
---
apiVersion: v1
kind: Service
metadata: {name: dns}
spec:
  type: NodePort
  clusterIP: 10.96.0.10
  selector: {app: dns}
  ports: [{port: 53, targetPort: 5353, nodePort: 30053, protocol: UDP}]
"""


class Changing:
    """A lab whose DNS pods and Service come and go."""

    def __init__(self, directory: Path) -> None:
        self.lab, self._file = Lab(directory), directory / "lab.yaml"

    def up(self, pods: dict[str, str], dns: bool = True, more: str = "") -> None:
        text = BASE + (DNS if dns else "") + "".join(POD.format(name=n, node=at) for n, at in pods.items()) + more
        self._file.write_text(text)
        self.lab.run("up", str(self._file))

    def socket(self, place: str, kind: int = socket.SOCK_DGRAM) -> socket.socket:
        with netns.inside(self.lab.netns(*place.split("/"))):
            sock = socket.socket(socket.AF_INET, kind)
        sock.settimeout(PATIENCE)
        return sock

    def health(self, node: str, place: str = "outside") -> tuple[int, Any]:
        """What the node answers to a load balancer's question: status and body."""
        address = {"node1": "192.168.0.21", "node2": "192.168.0.22"}[node]
        connection = http.client.HTTPConnection(address, 31000)
        connection.sock = self.socket(place, socket.SOCK_STREAM)
        try:
            connection.sock.connect((address, 31000))
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            assert answer.getheader("Content-Type") == "application/json"
            return answer.status, json.loads(answer.read())
        except (ConnectionRefusedError, ConnectionResetError):
            return 0, None
        finally:
            connection.close()


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Changing]:
    changing = Changing(tmp_path_factory.mktemp("changes"))
    changing.up({"dns1": "node1"})
    yield changing
    changing.lab.run("down")


def asked(sock: socket.socket, address: str, port: int) -> str:
    """Who answers on this very socket, so that conntrack takes it for the same connection."""
    fate = exchange(sock, Target("dns", address, port, "udp"))
    return fate.endpoint or fate.what


@pytest.mark.parametrize(
    ("place", "address", "port"),
    [("default/client", "10.96.0.10", 53), ("node2", "10.96.0.10", 53), ("outside", "192.168.0.22", 30053)],
)
def test_a_udp_client_that_goes_on_sending_is_answered_by_another_endpoint(
    changing: Changing, place: str, address: str, port: int
) -> None:
    changing.up({"dns1": "node1"})
    with changing.socket(place) as sock:
        first = asked(sock, address, port)
        assert first.startswith("10.244.1.")
        changing.up({"dns2": "node2"})
        assert asked(sock, address, port).startswith("10.244.2.")


def test_a_udp_client_of_a_service_that_goes_is_told_so(changing: Changing) -> None:
    changing.up({"dns1": "node1"})
    with changing.socket("outside") as sock:
        assert asked(sock, "192.168.0.22", 30053).startswith("10.244.1.")
        changing.up({})
        assert asked(sock, "192.168.0.22", 30053) == "refused"
        changing.up({"dns1": "node1"})
        assert asked(sock, "192.168.0.22", 30053).startswith("10.244.1.")
        changing.up({"dns1": "node1"}, dns=False)
        assert asked(sock, "192.168.0.22", 30053) == "refused"


def test_other_connections_are_kept(changing: Changing) -> None:
    """Those of another Service, and those to an endpoint that stays."""
    changing.up({"dns1": "node1", "dns2": "node2"})
    sockets = [changing.socket("default/client") for _ in range(12)]
    try:
        other = sockets[0]
        asked(other, "10.96.0.9", 53)
        answered = {sock: asked(sock, "10.96.0.10", 53) for sock in sockets[1:]}
        stay = {sock for sock, endpoint in answered.items() if endpoint.startswith("10.244.2.")}

        def clients() -> set[bytes]:
            found = conntrack.udp(changing.lab.netns("node1"), "ipv4")
            return {c.entry[CTA_TUPLE_ORIG] for c in found if c.destination[0] == "10.96.0.10"}

        before = clients()
        assert len(before) == 11
        changing.up({"dns2": "node2"})
        kept = clients()
        assert kept <= before and len(kept) == len(stay)
        assert {asked(sock, "10.96.0.10", 53) for sock in stay} <= set(answered.values())
        changing.up({"dns2": "node2"}, dns=False)
        assert clients() == set()
        addresses = {c.destination[0] for c in conntrack.udp(changing.lab.netns("node1"), "ipv4")}
        assert asked(other, "10.96.0.9", 53).startswith("10.244.") and "10.96.0.9" in addresses
    finally:
        for sock in sockets:
            sock.close()


def test_a_load_balancer_is_told_where_endpoints_are(changing: Changing) -> None:
    changing.up({"dns1": "node1", "dns3": "node1"})

    def body(endpoints: int) -> dict[str, Any]:
        service = {"namespace": "default", "name": "balanced"}
        return {"service": service, "localEndpoints": endpoints, "serviceProxyHealthy": True}

    eventually(lambda: changing.health("node1") == (200, body(2)))
    eventually(lambda: changing.health("node2") == (503, body(0)))
    assert changing.health("node1", "default/client") == (200, body(2))
    changing.up({"dns2": "node2"})
    eventually(lambda: changing.health("node1") == (503, body(0)))
    eventually(lambda: changing.health("node2") == (200, body(1)))


def test_a_new_kubelet_and_a_new_daemon_answer_health_checks_too(changing: Changing) -> None:
    changing.up({"dns1": "node1"})
    eventually(lambda: changing.health("node1")[0] == 200)
    changing.lab.kill("kubelet")
    eventually(lambda: changing.health("node1")[0] == 200)
    changing.lab.kill("daemon")
    assert changing.health("node1")[0] == 200
    changing.up({"dns2": "node2"})
    eventually(lambda: changing.health("node1")[0] == 503)


def test_health_checks_end_with_the_service(changing: Changing) -> None:
    changing.up({"dns1": "node1"})
    eventually(lambda: changing.health("node1")[0] == 200)
    changing.lab.run("delete", "service", "balanced")
    eventually(lambda: changing.health("node1") == (0, None))
    changing.up({"dns1": "node1"})
    eventually(lambda: changing.health("node1")[0] == 200)


def test_health_checks_listen_where_node_ports_do(changing: Changing) -> None:
    kind = "\n---\napiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
    changing.up({"dns1": "node1"}, more=kind + "nodePortAddresses: [192.168.0.21/32]")
    eventually(lambda: changing.health("node1")[0] == 200)
    eventually(lambda: changing.health("node2") == (0, None))


def test_a_port_in_use_is_shown_in_status(changing: Changing) -> None:
    changing.up({"dns1": "node1"})
    changing.lab.run("delete", "service", "balanced")
    eventually(lambda: changing.health("node2") == (0, None))
    with changing.socket("node2", socket.SOCK_STREAM) as taken:
        taken.bind(("0.0.0.0", 31000))
        taken.listen()
        changing.up({"dns1": "node1"})
        eventually(lambda: any("31000" in line for line in changing.lab.json("status", code=None)["problems"]))
        assert changing.health("node1")[0] == 200
