"""hostPorts in the kernel: answered on the node's address, predicted as they go, mended, and gone with the pod."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.kernel import netns
from k8snetlab.testing import Lab, eventually

LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec:
  dns: {enabled: false}
  nodes: 2
  proxy: {iptables: VARIANT}
  podCIDR: 10.244.0.0/16,fd00:10:244::/48
  serviceCIDR: 10.96.0.0/16,fd00:10:96::/112
  underlay: {cidr: "192.168.0.0/24,fd00:1::/64", outside: "203.0.113.10/24,fd00:2::10/64"}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: node1, containers: [{name: c}]}
"""
SERVER = """---
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  nodeName: node1
  containers:
  - name: c
    ports:
    - {containerPort: 80, hostPort: 8080}
    - {containerPort: 80, hostPort: 8081, hostIP: 192.168.0.21}
    - {containerPort: 53, hostPort: 5353, protocol: UDP}
"""


@pytest.fixture(params=["nft", "legacy"])
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    (tmp_path / "lab.yaml").write_text(LAB.replace("VARIANT", request.param) + SERVER.replace("NAME", "one"))
    lab.run("up", str(tmp_path / "lab.yaml"))
    yield lab
    lab.run("down")


def answered(lab: Lab, source: str, target: str, *options: str) -> bool:
    answer = lab.probe(source, target, *options)
    assert answer.answeredBy == "one", answer
    return True


def traced(lab: Lab, source: str) -> bool:
    observed = lab.json("trace", source, "192.168.0.21:8080")["observed"]
    assert observed["agrees"] and observed["fate"] == "answered", observed
    return True


def test_host_ports_answer_are_predicted_mended_and_go_with_their_pod(lab: Lab, tmp_path: Path) -> None:
    variant = lab.json("status")["iptables"]
    save = f"iptables-{variant}-save"
    nodes = {node["metadata"]["name"]: node["status"]["addresses"] for node in lab.json("get", "nodes")["items"]}
    four, six = [a["address"] for a in nodes["node1"] if a["type"] == "InternalIP"]
    places = ("outside", "client", "one", "node1", "node2")
    for source in places:
        for address in (four, f"[{six}]"):
            eventually(lambda at=(source, f"{address}:8080"): answered(lab, *at))  # type: ignore[misc]
        eventually(lambda source=source: answered(lab, source, "192.168.0.21:5353", "--protocol", "udp"))  # type: ignore[misc]
    for source in places:
        eventually(lambda source=source: traced(lab, source))  # type: ignore[misc]
    eventually(lambda: answered(lab, "outside", "192.168.0.21:8081"))
    assert lab.probe("outside", f"[{six}]:8081").ok is False
    assert lab.probe("outside", "192.168.0.22:8080").ok is False
    assert '"pod": "one"' in lab.shell("node1", "curl", "-s", "http://127.0.0.1:8080")
    assert lab.json("status")["nodes"][0]["agent"]["drift"] == []

    lab.shell("node1", f"iptables-{variant}", "-t", "nat", "-F", "CNI-HOSTPORT-DNAT")
    eventually(lambda: lab.shell("node1", save, "-t", "nat").count("-A CNI-HOSTPORT-DNAT") == 2)

    # A client that goes on sending is not left with the pod that has gone.
    with netns.inside(lab.netns("outside")):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client:
        client.settimeout(60)
        client.connect(("192.168.0.21", 5353))
        client.send(b"x")
        assert b'"pod": "one"' in client.recv(2000)
        lab.run("delete", "pod", "one")
        assert "CNI-" not in lab.shell("node1", save, "-t", "nat")
        (tmp_path / "two.yaml").write_text(SERVER.replace("NAME", "two"))
        lab.run("apply", "-f", str(tmp_path / "two.yaml"))
        client.send(b"x")
        assert b'"pod": "two"' in client.recv(2000)
