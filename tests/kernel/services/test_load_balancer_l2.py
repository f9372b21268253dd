"""Addresses that a node answers for, from a pool to an answered packet; and the next node when that one is silent."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from k8snetlab.dataplane.names import UNDERLAY_BRIDGE, pod_mac
from k8snetlab.render.lb.candidates import order
from k8snetlab.testing import Lab, eventually

NODES = ("node1", "node2", "node3")
LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec:
  dns: {enabled: false}
  nodes: 3
  podCIDR: 10.244.0.0/16,fd00:10:244::/48
  serviceCIDR: 10.96.0.0/16,fd00:10:96::/112
  underlay: {cidr: "192.168.0.0/24,fd00:1::/64", outside: "203.0.113.10/24,fd00:2::10/64"}
  loadBalancer: {mode: l2, pool: [192.168.0.200-192.168.0.201, "fd00:1::c8-fd00:1::c9"]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {nodeName: node1, containers: [{name: c, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"""
LOCAL = """
apiVersion: v1
kind: Service
metadata: {name: local}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"""
LATE = LOCAL.replace("name: local", "name: late")
EMPTY = """
apiVersion: v1
kind: Service
metadata: {name: empty, annotations: {metallb.universe.tf/allow-shared-ip: one}}
spec: {type: LoadBalancer, loadBalancerIP: 192.168.0.201, selector: {app: none}, ports: [{port: 81}]}
"""
FOUR, SIX = "192.168.0.200", "fd00:1::c8"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("l2")
    (directory / "lab.yaml").write_text(LAB)
    lab = Lab(directory)
    lab.up(directory / "lab.yaml")
    yield lab
    lab.down()


def neighbour(lab: Lab, address: str) -> str:
    """The MAC by which the router knows it."""
    found = re.search(r"lladdr (\S+)", lab.exec("router", "ip", "neigh", "show", address))
    return found[1] if found else ""


def node_of(lab: Lab, address: str) -> str:
    macs = {}
    for node in lab.list("nodes"):
        internal = [one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP"]
        macs[pod_mac(internal[0])] = str(node["metadata"]["name"])
    return macs.get(neighbour(lab, address), "")


def answers(lab: Lab, target: str, source: str = "outside") -> bool:
    answer = lab.probe(source, target)
    assert answer.answeredBy == "web", answer
    return True


def events(lab: Lab, reason: str) -> list[str]:
    return [one["message"] for one in lab.list("events") if one["reason"] == reason]


def warned(lab: Lab, manifest: str) -> str:
    file = lab.run_directory / "more.yaml"
    file.write_text(manifest)
    _, said = lab.start("apply", "-f", str(file)).communicate()
    return " ".join(said.split())


def test_up_ends_when_the_elected_node_answers_for_the_address_in_both_families(lab: Lab) -> None:
    status = lab.get("service", "web")["status"]
    assert [one["ip"] for one in status["loadBalancer"]["ingress"]] == [FOUR, SIX]
    first = order(FOUR, NODES)[0]
    for target in (f"{FOUR}:80", f"[{SIX}]:80"):
        assert answers(lab, target), "at once: `up` has waited for it"
    eventually(lambda: node_of(lab, FOUR) == node_of(lab, SIX) == first)  # the order is that of the first address
    for node in NODES:
        assert FOUR not in lab.exec(node, "ip", "address"), "it is on no device"
    eventually(lambda: f'announcing from node "{first}" with protocol "layer2"' in events(lab, "nodeAssigned"))
    assert f'Assigned IP ["{FOUR}" "{SIX}"]' in events(lab, "IPAllocated")
    assert re.search(rf"web +LoadBalancer +\S+ +{FOUR}\.\.\. ", lab.run("get", "svc")), "cut as kubectl cuts it"
    assert f"{FOUR},{SIX}" in lab.run("get", "svc", "-o", "wide")


def test_a_silent_node_is_followed_by_the_next_and_comes_back(lab: Lab) -> None:
    first, second = order(FOUR, NODES)[:2]
    lab.run("link", "down", first)
    try:
        eventually(lambda: node_of(lab, FOUR) == second)
        if first != "node1":  # the pod is there
            eventually(lambda: answers(lab, f"{FOUR}:80"))
    finally:
        lab.run("link", "up", first)
    eventually(lambda: node_of(lab, FOUR) == first)
    eventually(lambda: answers(lab, f"{FOUR}:80"))


def test_with_local_only_the_node_with_the_pod_announces_and_the_client_is_seen(lab: Lab) -> None:
    lab.apply(LOCAL)
    assert lab.probe("outside", "192.168.0.201:80").client == "203.0.113.10"
    assert node_of(lab, "192.168.0.201") == "node1"
    assert "default/late: it has no address: no available IPs" in warned(lab, LATE)
    eventually(lambda: 'Failed to allocate IP for "default/late": no available IPs' in events(lab, "AllocationFailed"))
    assert re.search(r"late +LoadBalancer +\S+ +<pending> ", lab.run("get", "svc"))
    lab.run("delete", "svc", "local")
    eventually(lambda: answers(lab, "192.168.0.201:80"))
    lab.run("delete", "svc", "late")


def test_apply_says_why_nobody_announces_an_address(lab: Lab) -> None:
    said = "default/empty: 192.168.0.201: no node announces it: the Service has no ready endpoint"
    assert said in warned(lab, EMPTY)
    router = ("ip", "netns", "exec", lab.netns("router"))
    subprocess.run([*router, "ip", "neigh", "del", "192.168.0.201", "dev", UNDERLAY_BRIDGE], check=False)
    asked = subprocess.run([*router, "ping", "-c", "1", "-W", "1", "192.168.0.201"], check=False)
    assert asked.returncode == 1 and not neighbour(lab, "192.168.0.201")
    lab.run("delete", "svc", "empty")


def test_a_speaker_that_is_killed_is_followed_by_another(lab: Lab) -> None:
    """The last one: a program that was killed is begun again after a pause, and until then it is a failure."""
    first, second = order(FOUR, NODES)[:2]
    lab.run("process", "kill", "speaker", "--node", first)
    lab.run("process", "kill", "speaker", "--node", first, code=None)  # if it was back at once, it is not now
    eventually(lambda: node_of(lab, FOUR) in (first, second))
    eventually(lambda: answers(lab, f"{FOUR}:80"))
