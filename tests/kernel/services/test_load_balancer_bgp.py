"""Addresses of which nodes tell the router by BGP: several ways as good, fewer with Local, none of a node that died."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Iterator

import pytest

from k8snetlab.addons.routing import PACKAGES
from k8snetlab.testing import Lab, eventually

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which(PACKAGES["bird"][0], path="/usr/sbin:/usr/bin"), reason="bird is missing"),
]
NODES = {"node1": "192.168.0.21", "node2": "192.168.0.22", "node3": "192.168.0.23"}
LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec:
  dns: {enabled: false}
  nodes: 3
  network: {backend: BACKEND}
  podCIDR: 10.244.0.0/16,fd00:10:244::/48
  serviceCIDR: 10.96.0.0/16,fd00:10:96::/112
  underlay: {cidr: "192.168.0.0/24,fd00:1::/64", outside: "203.0.113.10/24,fd00:2::10/64"}
  loadBalancer: {mode: bgp, pool: [198.51.100.0/28, "fd00:9::/124"]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, labels: {app: web}}
spec: {nodeName: node1, containers: [{name: c, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-2, labels: {app: web}}
spec: {nodeName: node2, containers: [{name: c, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: local}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"""


@pytest.fixture(scope="module", params=["vxlan", "bgp"])
def lab(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("routed")
    (directory / "lab.yaml").write_text(LAB.replace("BACKEND", request.param))
    lab = Lab(directory)
    lab.up(directory / "lab.yaml")
    yield lab
    lab.down()


def address(lab: Lab, service: str, number: int = 0) -> str:
    found: str = lab.client.get("services", service, "default")["status"]["loadBalancer"]["ingress"][number]["ip"]
    return found


def ways(lab: Lab, to: str) -> set[str]:
    """The nodes by which the router has a way there."""
    shown = lab.exec("router", "ip", "-6" if ":" in to else "-4", "route", "show", to).split()
    hops = {after for word, after in itertools.pairwise(shown) if word == "via"}
    return {name for name, own in NODES.items() if hops & {own, own.replace("192.168.0.", "fd00:1::")}}


def test_up_ends_when_the_router_has_all_equal_ways_and_they_are_used_and_told_of(lab: Lab) -> None:
    four, six, local = address(lab, "web"), address(lab, "web", 1), address(lab, "local")
    assert (ways(lab, four), ways(lab, six)) == (set(NODES), set(NODES))
    assert ways(lab, local) == {"node1", "node2"}, "of Local those with a ready endpoint"
    for to in (four, local, f"[{six}]"):
        pods = Counter(lab.probe("outside", f"{to}:80").answeredBy for _ in range(24))
        assert set(pods) == {"web-1", "web-2"}, to
    assert lab.probe("outside", f"{local}:80").client == "203.0.113.10"
    for node in NODES:
        assert four not in lab.exec(node, "ip", "address") + lab.exec(node, "ip", "route")
    found = lab.json("trace", "outside", f"{four}:80")
    assert found["observed"]["agrees"] and found["observed"]["fate"] == "answered", found["observed"]
    said = next(row for row in lab.json("tables", "router", "routes")["tables"][0]["rows"] if four in row["line"])
    assert said["owner"] == "BIRD, by BGP" and "default/web" in said["meaning"], said
    events = [one["message"] for one in lab.list("events") if one["reason"] == "nodeAssigned"]
    assert any('from node "node3" with protocol "bgp"' in text for text in events), events
    assert lab.json("diagnose")["findings"] == []


def test_who_has_no_endpoint_any_more_and_who_dies_is_no_way(lab: Lab) -> None:
    four, local = address(lab, "web"), address(lab, "local")
    lab.run("delete", "pod", "web-2")
    eventually(lambda: ways(lab, local) == {"node1"} and ways(lab, four) == set(NODES))
    lab.run("pause", "node3")
    lab.exec("node3", "ip", "link", "set", "eth0", "down")
    eventually(lambda: ways(lab, four) == {"node1", "node2"})
    assert lab.probe("outside", f"{four}:80").answeredBy == "web-1"
    found = lab.json("diagnose", code=1)["findings"]
    said = " ".join(text for one in found for text in (one["message"], *one["explains"]))
    assert "the router has no way by node3" in said, said
    lab.run("resume", "node3")
    eventually(lambda: ways(lab, four) == set(NODES))
    lab.run("delete", "service", "local")
    eventually(lambda: ways(lab, local) == set())
