"""rules, tables, graph on a running lab: what is told is what the kernel holds."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from k8snetlab.testing import Lab


@pytest.fixture(scope="module", params=["nft", "legacy"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two nodes, a Service with a pod on each, both IP families; in each variant of iptables."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    directory = tmp_path_factory.mktemp("manifests")
    (directory / "lab.yaml").write_text(MANIFEST.replace("VARIANT", request.param))
    lab.run("up", str(directory))
    yield lab
    lab.run("down")


MANIFEST = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec:
  dns: {enabled: false}
  nodes: 2
  podCIDR: 10.244.0.0/16,fd00:10:244::/56
  serviceCIDR: 10.96.0.0/12,fd00:10:96::/112
  underlay: {cidr: "192.168.0.0/24,fd00:168::/64", outside: "203.0.113.10/24,2001:db8::10/64"}
  proxy: {iptables: VARIANT}
---
apiVersion: v1
kind: Pod
metadata: {name: one, labels: {app: web}}
spec: {nodeName: node1, containers: [{name: c, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: two, labels: {app: web}}
spec: {nodeName: node2, containers: [{name: c, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
"""


def every(rules: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for rule in rules:
        yield rule
        yield from every(rule["rules"])


def found(lab: Lab, *words: str) -> list[dict[str, Any]]:
    return list(every(rule for chain in lab.json("rules", *words)["chains"] for rule in chain["rules"]))


def iptables(lab: Lab, node: str, *words: str) -> str:
    variant = lab.json("rules", "--node", node)["variant"]
    return lab.shell(node, f"iptables-{variant}", *words)


def test_the_tree_of_a_service_counts_what_is_sent(lab: Lab) -> None:
    def counted() -> dict[str, int]:
        return {r["rule"]: r["packets"] for r in found(lab, "web", "--node", "node1") if "DNAT" in r["rule"]}

    before = counted()
    assert len(before) == 2
    for _ in range(5):
        lab.probe("one", "web:80")
    after = counted()
    assert sum(after.values()) - sum(before.values()) == 5
    text = lab.run("rules", "web", "--node", "node1")
    assert "goes to endpoint" in text and "(pod default/two on node2)" in text


def test_rules_of_ipv6_are_a_tree_of_their_own(lab: Lab) -> None:
    rules = [r["rule"] for r in found(lab, "web", "--family", "ipv6") if "-j DNAT" in r["rule"]]
    assert len(rules) == 2 and all("[fd00:10:244:" in rule for rule in rules)
    assert not [r for r in found(lab, "--family", "ipv6") if r["meaning"].startswith("Neither")]


def test_every_rule_of_the_frame_is_told_and_a_strangers_is_named(lab: Lab) -> None:
    assert not [r for r in found(lab, "--node", "node1") if r["meaning"].startswith("Neither")]
    iptables(lab, "node1", "-A", "FORWARD", "-m", "length", "--length", "1:2", "-j", "DROP")
    try:
        [strange] = [r for r in found(lab, "--node", "node1") if r["meaning"].startswith("Neither")]
        assert "length" in strange["rule"]
        differences = lab.json("rules", "--diff", "node1", "node2")["differences"]
        assert [d["first"] for d in differences if "length" in d["rule"]] == [True]
    finally:
        iptables(lab, "node1", "-D", "FORWARD", "-m", "length", "--length", "1:2", "-j", "DROP")


def test_two_nodes_of_a_healthy_lab_differ_by_flannels_subnets_only(lab: Lab) -> None:
    chains = {d["chain"] for d in lab.json("rules", "--diff", "node1", "node2")["differences"]}
    assert chains == {"FLANNEL-POSTRTG"}
    assert "no difference" in lab.run("rules", "web", "--diff", "node1", "node2")


def test_a_flushed_chain_is_told_as_empty(lab: Lab) -> None:
    own = next(r["leads"] for r in found(lab, "web", "--node", "node1") if r["leads"].startswith("KUBE-SVC-"))
    lab.run("pause", "node1")
    try:
        iptables(lab, "node1", "-t", "nat", "-F", own)
        assert any(r["leads"] == own and r["chain"] == "empty" for r in found(lab, "web", "--node", "node1"))
        assert "(it is empty)" in lab.run("rules", "web", "--node", "node1")
    finally:
        lab.run("resume", "node1")


@pytest.mark.parametrize("place", ["node1", "one", "router", "outside"])
def test_tables_are_what_the_printed_commands_print(lab: Lab, place: str) -> None:
    for table in lab.json("tables", place)["tables"]:
        if table["table"] not in ("routes", "fdb"):
            continue
        typed = subprocess.run(["sh", "-c", table["command"]], capture_output=True, text=True, check=False).stdout
        assert [row["line"] for row in table["rows"]] == [line.strip() for line in typed.splitlines()]
        assert not [row for row in table["rows"] if row["owner"] == "nobody"]


def test_a_route_that_nobody_owns_is_named(lab: Lab) -> None:
    lab.shell("node2", "ip", "route", "add", "198.51.100.0/24", "via", "192.168.0.1")
    try:
        table, _ = lab.json("tables", "node2", "routes")["tables"]
        assert [r["line"].split()[0] for r in table["rows"] if r["owner"] == "nobody"] == ["198.51.100.0/24"]
    finally:
        lab.shell("node2", "ip", "route", "del", "198.51.100.0/24")


def test_conntrack_shows_the_translation_of_a_node_port(lab: Lab) -> None:
    assert lab.probe("outside", "node2:30080").reached
    text = lab.run("tables", "node2", "conntrack")
    assert "(the host outside) calls" in text and "translated to" in text and "masqueraded" in text


def test_watched_rules_are_shown_again_until_interrupted(lab: Lab) -> None:
    watching = lab.start("rules", "web", "--watch")
    try:
        assert watching.stdout
        titles = 0
        deadline = time.monotonic() + 120
        while titles < 2 and time.monotonic() < deadline:
            titles += watching.stdout.readline().startswith("service default/web on node1")
        assert titles == 2
    finally:
        watching.send_signal(2)
        watching.communicate(timeout=120)
    assert watching.returncode == 0


def test_rules_and_tables_refuse_what_is_not_there(lab: Lab) -> None:
    assert "service 'nobody' not found" in lab.run("rules", "nobody", code=1)
    assert "node 'node9' not found" in lab.run("rules", "web", "--node", "node9", code=1)
    assert "no pod or node is called" in lab.run("tables", "nobody", code=1)


def test_the_picture_of_a_running_lab_is_that_of_its_manifests_with_the_real_addresses(
    lab: Lab, tmp_path: Path
) -> None:
    lab.run("graph", "-o", str(tmp_path / "lab.svg"))
    drawn = (tmp_path / "lab.svg").read_text()
    for pod in lab.json("get", "pods")["items"]:
        assert pod["metadata"]["name"] in drawn and pod["status"]["podIP"] in drawn
    assert "no endpoints" not in drawn
    text = lab.run("graph")
    (own,) = re.findall(r'(service\d+)\{\{"Service web<', text)
    assert text.count(f"{own} --> node") == 2
