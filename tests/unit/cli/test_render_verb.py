"""`render`: from manifests to what a node would get, without a lab."""

from __future__ import annotations

from pathlib import Path

import pytest
from golden import CASES, NODE, by_service, chains, without_counters
from typer.testing import CliRunner

from k8snetlab.cli.main import app_of
from k8snetlab.errors import InputError

LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
metadata: {name: demo}
spec:
  nodes:
    - {name: node1, address: 192.168.0.21, podCIDR: 172.30.76.0/24}
    - {name: node2, address: 192.168.0.22, podCIDR: 172.30.9.0/24}
  podCIDR: 172.30.0.0/16
  serviceCIDR: 10.254.0.0/16
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  nodeName: node1
  containers: [{name: web, ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, clusterIP: 10.254.80.22, ports: [{port: 80, targetPort: 8080}]}
"""


def render(*arguments: str, text: str = LAB) -> str:
    result = CliRunner().invoke(app_of(), ["render", *arguments], input=text)
    if result.exception:
        raise result.exception
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rules_are_those_of_real_kube_proxy(case: Path) -> None:
    files = ("-f", str(case / "input.yaml"), "-f", str(case / "kube-proxy-config.yaml"))
    ours = render(*files, "--node", NODE, "--rules")
    theirs = without_counters((case / "iptables-restore.in").read_text())
    assert by_service(chains(ours)) == by_service(chains(theirs))


@pytest.mark.parametrize("source", ["-", "business-manager"])
def test_what_manifests_ask_for_is_shown_and_no_service_that_a_lab_has_besides(source: str) -> None:
    rules = render("-f", source, "--node", "node1", "--rules")
    assert "-d 10.254.80.22 " in rules
    for address in ("10.254.0.1", "10.254.0.2"):  # of default/kubernetes and of kube-system/kube-dns in a lab of these
        assert f"-d {address} " not in rules
    assert "default/kubernetes" not in rules and "kube-dns" not in rules


def test_links_are_the_commands_that_make_the_node() -> None:
    lines = render("-f", "-", "--node", "node1", "--links").splitlines()
    assert lines[0] == "ip netns add demo.node1"
    assert any(line.startswith("ip -n demo.node1 link add flannel.1 ") and "id 1 " in line for line in lines)
    assert "ip -n demo.node1 route replace 172.30.9.0/24 via 172.30.9.0 dev flannel.1 onlink" in lines
    assert "ip -n demo.node1 addr add 192.168.0.21/24 brd + dev eth0" in lines
    assert "ip -n demo.default.web addr add 172.30.76.2/24 brd + dev eth0" in lines
    assert not any(line.startswith(("*", "-A")) for line in lines)


def test_rules_of_a_lab_are_kube_proxys_and_flannels() -> None:
    held = chains(render("-f", "-", "--node", "node2", "--rules"))
    assert any("--to-destination 172.30.76.2:8080" in rule for rules in held.values() for rule in rules)
    assert held["nat", "FLANNEL-POSTRTG"][1].startswith("-s 172.30.9.0/24 -d 172.30.0.0/16 ")


def test_all_holds_both_and_the_jumps() -> None:
    text = render("-f", "-", "--node", "node1")
    assert (
        text
        == render("-f", "-", "--node", "node1", "--all")
        == render("-f", "-", "--node", "node1", "--rules", "--links")
    )
    for part in ("--rules", "--links"):
        assert render("-f", "-", "--node", "node1", part) in text
    assert "\niptables -t nat -I PREROUTING " in text


def test_ipv6_is_the_other_familys_rules() -> None:
    held = chains(render("-f", "-", "--node", "node1", "--rules", "--family", "ipv6"))
    assert held["nat", "KUBE-SERVICES"]
    assert not any("10.254.80.22" in rule for rules in held.values() for rule in rules)


def test_an_unknown_node_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError) as refused:
        render("-f", "-", "--node", "node3", "--rules")
    assert "node1, node2" in refused.value.hint
