"""What a student sees of the control plane, with a real kubectl in a real lab: how pods are scheduled, and by whom."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubectl
import pytest
from kubectl import Kubectl

from k8snetlab.testing import Lab
from k8snetlab.testing.lab import running

pytestmark = pytest.mark.skipif(kubectl.found() is None, reason=kubectl.NOWHERE)
NODES = "[{name: node1, labels: {zone: a}}, {name: node2, labels: {zone: b}}, {name: node3, labels: {zone: b}}]"
LAB = "{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: %s}, spec: {nodes: %s, dns: {enabled: false}}}\n"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("plane")
    (directory / "lab.yaml").write_text(LAB % ("plane", NODES))
    with running(directory) as found:
        yield found


@pytest.fixture(scope="module")
def k(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    home = tmp_path_factory.mktemp("home")
    (home / "config").write_text(lab.run("kubeconfig"))
    program = kubectl.found()
    assert program
    return Kubectl(program, home, home / "config")


def pod(name: str, spec: str = "", container: str = "", labels: str = "") -> str:
    return f"""---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{{labels}}}}}
spec: {{terminationGracePeriodSeconds: 0, {spec} containers: [{{name: c, {container}}}]}}
"""


def made(k: Kubectl, manifest: str) -> None:
    k.run("create", "-f", "-", stdin=manifest)


def gone(k: Kubectl, *names: str) -> None:
    k.run("delete", "pod", *names, "--timeout=60s")


def described(k: Kubectl, name: str) -> str:
    """Without what kubectl folds."""
    return " ".join(k.run("describe", "pod", name).split())


def test_a_pod_that_does_not_fit_says_so_to_kubectl_and_schedule_shows_the_table(lab: Lab, k: Kubectl) -> None:
    made(k, pod("huge", "nodeSelector: {zone: b},", "resources: {requests: {cpu: '4000'}}"))
    k.run("wait", "--for=jsonpath={.status.conditions[0].reason}=Unschedulable", "pod/huge", "--timeout=60s")
    words = (
        "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 2 Insufficient cpu. no new "
        "claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    )
    assert "Warning FailedScheduling" in described(k, "huge") and words in described(k, "huge")
    shown = lab.run("schedule", "huge")
    assert "node1 ok ok no - - - -" in " ".join(shown.split()) and words in " ".join(shown.split())
    found = lab.json("schedule", "huge", "-o", "json")
    assert [one["rank"] for one in found["nodes"]] == [0, 0, 0] and found["best"] == ""
    assert found["nodes"][1]["reasons"] == ["Insufficient cpu"]
    gone(k, "huge")


def test_schedule_ranks_the_nodes_of_a_pod_and_kubectl_sees_the_best(lab: Lab, k: Kubectl) -> None:
    near = "{topologyKey: zone, labelSelector: {matchLabels: {app: db}}}"
    made(k, pod("db", "nodeName: node3,", labels="app: db"))
    k.run("wait", "--for=condition=Ready", "pod/db", "--timeout=60s")
    wish = f"podAffinity: {{preferredDuringSchedulingIgnoredDuringExecution: [{{weight: 9, podAffinityTerm: {near}}}]}}"
    made(k, pod("near", f"affinity: {{{wish}}},"))
    k.run("wait", "--for=condition=Ready", "pod/near", "--timeout=60s")
    assert k.json("get", "pod", "near")["spec"]["nodeName"] == "node2"  # of zone b the one with fewer pods
    found = lab.json("schedule", "near", "-o", "json")
    by_name = {one["node"]: one for one in found["nodes"]}
    assert found["node"] == found["best"] == "node2"
    assert by_name["node2"]["scores"]["InterPodAffinity"] == 100 > by_name["node1"]["scores"]["InterPodAffinity"]
    assert sorted(one["rank"] for one in found["nodes"]) == [1, 2, 3]
    gone(k, "db", "near")


def test_a_scheduler_of_ones_own_binds_through_the_api(lab: Lab, k: Kubectl, tmp_path: Path) -> None:
    made(k, pod("mine", "schedulerName: mine,", "ports: [{containerPort: 80}]"))
    assert "mine is to bind it" in lab.run("schedule", "mine")
    binding: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "mine"},
        "target": {"kind": "Node", "name": "node2"},
    }
    (tmp_path / "binding.json").write_text(json.dumps(binding))
    assert not k.json("get", "pod", "mine")["spec"].get("nodeName")
    where = "/api/v1/namespaces/default/pods/mine/binding"
    k.run("create", "--raw", where, "-f", str(tmp_path / "binding.json"))
    k.run("wait", "--for=condition=Ready", "pod/mine", "--timeout=60s")
    assert k.json("get", "pod", "mine")["spec"]["nodeName"] == "node2"
    assert lab.probe("node1", "mine:80").ok
    gone(k, "mine")


def test_a_more_important_pod_takes_the_place_of_a_less_important_one(lab: Lab, k: Kubectl) -> None:
    cpu = int(k.json("get", "node", "node1")["status"]["allocatable"]["cpu"])
    most = f"command: [sleep, infinity], resources: {{requests: {{cpu: '{cpu}'}}}}"
    high = "---\n{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: high}, value: 1000}\n"
    made(k, pod("low", "nodeSelector: {zone: a},", most) + high)
    k.run("wait", "--for=condition=Ready", "pod/low", "--timeout=60s")
    made(k, pod("high", "nodeSelector: {zone: a}, priorityClassName: high,", most))
    k.run("wait", "--for=condition=Ready", "pod/high", "--timeout=60s")
    uid = k.json("get", "pod", "high")["metadata"]["uid"]
    told = k.json("get", "events", "--field-selector=reason=Preempted")["items"]
    assert [one["message"] for one in told] == [f"Preempted by pod {uid} on node node1"]
    assert k.run("get", "pod", "low", "--ignore-not-found") == ""
    gone(k, "high")
