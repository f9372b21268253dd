"""Hosts outside: real machines beside the nodes and beyond the router, changed by `up`, gone with the lab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.testing import Lab, running

FIRST = """
      - {name: mysql, address: '192.168.0.103,fd00:168::103', ports: [3306]}
      - {name: far, address: '198.51.100.7,2001:db8:7::7', ports: [80]}
"""
THEN = """
      - {name: mysql, address: '198.51.100.8', ports: [3306, 33060]}
      - {name: other, address: 192.168.0.104}
"""


def manifest(hosts: str) -> str:
    return f"""
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec:
  nodes: 1
  dns: {{enabled: false}}
  podCIDR: 10.244.0.0/16,fd00:10:244::/56
  serviceCIDR: 10.96.0.0/16,fd00:10:96::/112
  underlay: {{cidr: '192.168.0.0/24,fd00:168::/64', outside: '203.0.113.10/24,2001:db8::10/64'}}
  outside:
    hosts:{hosts}
---
apiVersion: v1
kind: Pod
metadata: {{name: client}}
spec: {{containers: [{{name: c}}]}}
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("outside")
    (directory / "lab.yaml").write_text(manifest(FIRST))
    return directory


@pytest.fixture(scope="module")
def lab(directory: Path) -> Iterator[Lab]:
    with running(directory) as lab:
        yield lab


@pytest.mark.parametrize("address", ["192.168.0.103:3306", "[fd00:168::103]:3306", "198.51.100.7:80"])
def test_pods_reach_hosts_outside_which_see_the_node(lab: Lab, address: str) -> None:
    probe = lab.probe("client", address)
    node = lab.get("node", "node1")["status"]["addresses"]
    assert probe.reached and probe.answeredBy in ("mysql", "far")
    assert probe.client in {one["address"] for one in node}


def test_hosts_outside_reach_each_other_and_no_pod(lab: Lab) -> None:
    assert lab.probe("far", "[fd00:168::103]:3306").answeredBy == "mysql"
    assert lab.probe("mysql", "[2001:db8:7::7]:80").answeredBy == "far"
    assert lab.probe("outside", "far").client == "203.0.113.10"
    assert "answered" in lab.run("probe", "far", "mysql", "-p", "icmp")
    assert lab.exec("outside/mysql", "hostname").strip() == "mysql"
    probe = lab.probe("far", f"{lab.address_of('pod/client')}:80")
    assert (probe.reached, probe.seen) == (False, "unreachable")


def test_a_trace_to_a_host_is_as_predicted(lab: Lab) -> None:
    for name in ("mysql", "far"):
        trace = lab.trace("client", name)
        assert trace.observed and trace.observed.agrees, trace.observed
        assert trace.way.there[-1].place == name
    assert not lab.diagnose().findings


CLOSED = """
{apiVersion: v1, kind: Service, metadata: {name: closed}, spec: {ports: [{port: 81}]}}
---
{apiVersion: v1, kind: Endpoints, metadata: {name: closed},
subsets: [{addresses: [{ip: 198.51.100.7}], ports: [{port: 81}]}]}
"""


def test_follow_says_of_a_packet_that_nobody_answers_it(lab: Lab) -> None:
    lab.run("apply", "-f", "-", stdin=CLOSED)
    with lab.start("follow", "svc/closed", "--until", "ready") as process:
        try:
            assert process.stdout
            line = next(line for line in process.stdout if "asks" in line)
        finally:
            process.kill()
    assert line.rstrip().endswith("no answer yet (connection refused), asked again")
    lab.run("delete", "service", "closed")


def test_up_changes_hosts_and_leaves_nothing_of_those_that_went(lab: Lab, directory: Path) -> None:
    (directory / "lab.yaml").write_text(manifest(THEN))
    lab.run("up", str(directory))
    assert lab.probe("client", "outside/mysql:33060").answeredBy == "mysql"
    assert lab.probe("client", "198.51.100.8:3306").reached
    assert "answered" in lab.run("probe", "client", "other", "-p", "icmp")
    refused = lab.probe("client", "other:3306")
    assert (refused.reached, refused.seen) == (False, "refused")
    assert not lab.probe("client", "192.168.0.103:3306").reached
    links = lab.exec("router", "ip", "-br", "link")
    assert "far" not in links and "other" in links
    assert "198.51.100.7" not in lab.exec("router", "ip", "route") + lab.exec("outside", "ip", "route")
    (directory / "lab.yaml").write_text(manifest(THEN))
    assert "nothing to change" in lab.run("up", str(directory))
