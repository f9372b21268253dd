"""`proxy: {mode: external}`: a node's rules of Services are a guest's, and every verb says so."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.testing import Lab, eventually

pytestmark = pytest.mark.root
LAB = "apiVersion: k8snetlab/v1alpha1\nkind: Lab\nspec: %s\n---\n"
OWN, LEFT = (
    "{nodes: 2, dns: {enabled: false}}",
    "{dns: {enabled: false}, nodes: [{name: node1, proxy: {mode: external}}, {name: node2}]}",
)
OBJECTS = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {nodeName: node2, containers: [{name: c, image: i, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.0.80, selector: {app: web}, ports: [{port: 80}]}
"""
LITTLE_PROXY = Path(__file__).parent / "guests" / "little_proxy.py"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    one = Lab(tmp_path_factory.mktemp("external"))
    try:
        yield one
    finally:
        one.down()


def up(lab: Lab, spec: str) -> None:
    file = lab.run_directory.parent / "lab.yaml"
    file.write_text(LAB % spec + OBJECTS)
    lab.up(file)


def rules(lab: Lab, node: str) -> str:
    """All rules of a node without what they have counted."""
    saved = lab.shell(node, "iptables-save")
    return "\n".join(re.sub(r"\[\d+:\d+\]", "", line) for line in saved.splitlines() if not line.startswith("#"))


def proxy_of(lab: Lab, node: str) -> str:
    return next(one["proxy"] for one in lab.json("status")["nodes"] if one["name"] == node)


def test_what_the_lab_wrote_goes_and_all_verbs_say_whose_rules_they_are(lab: Lab) -> None:
    up(lab, OWN)
    assert "KUBE-SERVICES" in rules(lab, "node1") and lab.probe("node1", "web").reached
    up(lab, LEFT)
    assert "KUBE-" not in rules(lab, "node1") and "FLANNEL-FWD" in rules(lab, "node1")
    assert "KUBE-SERVICES" in rules(lab, "node2") and lab.probe("node2", "web").reached
    assert (proxy_of(lab, "node1"), proxy_of(lab, "node2")) == ("external", "iptables")
    assert "node1: the rules of Services are a guest's (proxy.mode external)" in lab.run("status")
    assert not any(node["agent"]["drift"] for node in lab.json("status")["nodes"])
    assert not lab.probe("node1", "web").reached
    [finding, *others] = lab.diagnose().findings
    assert not others and finding.node == "node1" and "left to a guest" in finding.message and finding.paths
    assert "written by a guest" in lab.run("rules", "web", "--node", "node1")
    assert "written by a guest" not in lab.run("rules", "web", "--node", "node2")
    assert "prediction and observation agree" in lab.run("trace", "node1", "web", code=None)
    rendered = lab.run("render", "-f", str(lab.run_directory.parent / "lab.yaml"), "--node", "node1", "--rules")
    assert "KUBE-SERVICES" in rendered


def test_rules_that_a_guest_writes_by_the_in_cluster_api_are_left_and_told_of(lab: Lab) -> None:
    up(lab, LEFT)
    environment = ["-e", f"PYTHONPATH={Path(__file__).parents[3]}"]
    lab.run(
        "guest",
        "start",
        "kp",
        "--node",
        "node1",
        *environment,
        "--",
        sys.executable,
        str(LITTLE_PROXY),
        "web",
        "kubernetes",
    )
    try:
        eventually(lambda: "synced" in lab.run("guest", "logs", "kp"))
        assert lab.probe("node1", "web").reached
        assert "prediction and observation agree" in lab.run("trace", "node1", "web", code=None)
        held = rules(lab, "node1")
        assert "KUBE-SVC-" in held and "10.96.0.80/32" in held
        diagnosis = lab.diagnose()
        assert not diagnosis.findings and any("a guest's (proxy.mode external)" in note for note in diagnosis.notes)
        assert "Service default/web" in lab.run("rules", "web", "--node", "node1")
        lab.apply("{apiVersion: v1, kind: Service, metadata: {name: more}, spec: {ports: [{port: 80}]}}")
        lab.run("pause", "node1")
        lab.run("resume", "node1")
        lab.kill("daemon")
        up(lab, LEFT)
        assert rules(lab, "node1") == held, "neither a change, a resume nor another daemon touches a guest's rules"
        assert not any(node["agent"]["drift"] for node in lab.json("status")["nodes"])
        lab.shell(
            "node1",
            "iptables",
            "-t",
            "nat",
            "-D",
            "OUTPUT",
            "-m",
            "comment",
            "--comment",
            "kubernetes service portals",
            "-j",
            "KUBE-SERVICES",
        )
        assert not lab.probe("node1", "web").reached and lab.diagnose().findings
    finally:
        lab.run("guest", "stop", "kp")


def test_rules_that_are_the_labs_again_replace_the_guests(lab: Lab) -> None:
    up(lab, LEFT)
    lab.shell("node1", "iptables", "-t", "nat", "-N", "KUBE-SVC-OFAGUEST")
    up(lab, OWN)
    held = rules(lab, "node1")
    assert "OFAGUEST" not in held and "KUBE-SERVICES" in held and lab.probe("node1", "web").reached
    assert not lab.diagnose().findings


def test_a_whole_lab_is_left_but_for_the_nodes_that_say_otherwise(lab: Lab) -> None:
    up(lab, "{nodes: [{name: node1}, {name: node2, proxy: {mode: iptables}}], proxy: {mode: external}}")
    assert (proxy_of(lab, "node1"), proxy_of(lab, "node2")) == ("external", "iptables")
    assert "KUBE-" not in rules(lab, "node1") and "KUBE-SERVICES" in rules(lab, "node2")


def chains(text: str) -> dict[str, list[str]]:
    """The chains of kube-proxy's tables, each with its rules as `iptables-save` has them; the canary is left out."""
    found: dict[str, list[str]] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line
        if line.startswith((":KUBE-", "-A KUBE-")) and "CANARY" not in line:
            chain = f"{table} {line.removeprefix('-A ').removeprefix(':').split()[0]}"
            found.setdefault(chain, [])
            if line.startswith("-A"):
                found[chain].append(line)
    return found


@pytest.mark.skipif(not os.environ.get("K8SNETLAB_KUBE_PROXY"), reason="K8SNETLAB_KUBE_PROXY names no kube-proxy")
def test_a_real_kube_proxy_writes_the_chains_that_the_lab_writes(lab: Lab) -> None:
    program = shutil.which(os.environ["K8SNETLAB_KUBE_PROXY"])
    assert program, "K8SNETLAB_KUBE_PROXY names a program"
    up(lab, OWN)
    ours = chains(rules(lab, "node1"))
    up(lab, LEFT)
    options = "--hostname-override=node1 --cluster-cidr=10.244.0.0/16 --proxy-mode=iptables"
    words = f"exec {program} --kubeconfig=$KUBECONFIG {options}"
    lab.run("guest", "start", "kube-proxy", "--node", "node1", "--", "sh", "-c", words)
    try:
        eventually(lambda: chains(rules(lab, "node1")).keys() == ours.keys())
        assert chains(rules(lab, "node1")) == ours
    finally:
        lab.run("guest", "stop", "kube-proxy")
