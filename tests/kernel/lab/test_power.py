"""Nodes of a lab that lose their power: what a cluster makes of it, and how they come back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from k8snetlab.kernel import netns
from k8snetlab.testing import Lab, eventually
from k8snetlab.testing.lab import running

LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
metadata: {name: power}
spec: {nodes: 2, dns: {enabled: false}, controlPlane: {nodeMonitorGracePeriod: 2}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 2}]
      containers: [{name: web, image: web, ports: [{containerPort: 80}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: loyal}
spec:
  nodeName: node2
  terminationGracePeriodSeconds: 60
  containers:
  - name: c
    image: c
    command: [sh, -c, "trap 'echo goodbye > {file}; exit 0' TERM; while :; do sleep 0.1; done"]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: node1, containers: [{name: c, image: c}]}
---
apiVersion: v1
kind: Pod
metadata: {name: once}
spec: {nodeName: node2, restartPolicy: Never, containers: [{name: c, image: c}]}
"""


@pytest.fixture(scope="module")
def goodbye(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("power") / "goodbye"


@pytest.fixture(scope="module")
def lab(goodbye: Path) -> Iterator[Lab]:
    (goodbye.parent / "lab.yaml").write_text(LAB.replace("{file}", str(goodbye)))
    with running(goodbye.parent) as found:
        yield found


def ready_of(lab: Lab, node: str) -> tuple[str, str]:
    conditions = lab.get("node", node)["status"]["conditions"]
    return next((one["status"], one["reason"]) for one in conditions if one["type"] == "Ready")


def pods(lab: Lab) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for one in lab.list("pods"):
        found.setdefault(one["spec"]["nodeName"], []).append(one)
    return found


def reasons(lab: Lab) -> set[tuple[str, str, str]]:
    return {(e["involvedObject"]["name"], e["reason"], e["message"]) for e in lab.list("events")}


def booted(lab: Lab, boot: str) -> None:
    """What a node tells that had another boot id before."""
    (status,) = lab.get("pod", "loyal")["status"]["containerStatuses"]
    ended = status["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (255, "Unknown"), "nobody saw how it ended"
    eventually(lambda: lab.get("pod", "once")["status"]["phase"] == "Failed")
    (status,) = lab.get("pod", "once")["status"]["containerStatuses"]
    assert status["state"]["terminated"]["exitCode"] == 255
    fresh = lab.get("node", "node2")["status"]["nodeInfo"]["bootID"]
    assert fresh != boot
    eventually(lambda: ("node2", "Rebooted", f"Node node2 has been rebooted, boot id: {fresh}") in reasons(lab))
    changed = "Pod sandbox changed, it will be killed and re-created."
    eventually(lambda: ("loyal", "SandboxChanged", changed) in reasons(lab))


def test_a_node_without_power_is_lost_as_a_real_one_and_comes_back_as_one_that_boots(lab: Lab, goodbye: Path) -> None:
    (moved,) = [one["metadata"]["name"] for one in pods(lab)["node2"] if one["metadata"]["name"].startswith("web")]
    renewed = lab.get("lease", "node2", "kube-node-lease")["spec"]["renewTime"]
    lab.run("node", "stop", "node2")
    assert not netns.exists(lab.netns("node2")) and not netns.exists(lab.netns("default", "loyal"))
    assert "node1" in pods(lab) and not goodbye.exists(), "nobody had the time for a SIGTERM"
    assert "loyal is on node2, which has no power" in lab.run("exec", "loyal", "--", "true", code=1)
    assert "is off" in lab.run("node", "stop", "node2") or "already" in lab.run("node", "stop", "node2")

    eventually(lambda: ready_of(lab, "node2") == ("Unknown", "NodeStatusUnknown"))
    assert lab.get("lease", "node2", "kube-node-lease")["spec"]["renewTime"] >= renewed
    assert "k8snetlab/renewed-every" not in str(lab.get("lease", "node2", "kube-node-lease"))
    eventually(lambda: ("node2", "NodeNotReady", "Node node2 status is now: NodeNotReady") in reasons(lab))
    taints = [(one["key"], one["effect"]) for one in lab.get("node", "node2")["spec"]["taints"]]
    unreachable = "node.kubernetes.io/unreachable"
    assert sorted(taints) == [(unreachable, "NoExecute"), (unreachable, "NoSchedule")]
    eventually(lambda: (moved, "TaintManagerEviction", f"Marking for deletion Pod default/{moved}") in reasons(lab))
    eventually(lambda: sum(pod["metadata"]["name"].startswith("web") for pod in pods(lab)["node1"]) == 2)
    assert {one["metadata"]["name"]: "deletionTimestamp" in one["metadata"] for one in pods(lab)["node2"]} == {
        moved: True,  # nobody is there who could say that it has ended
        "loyal": False,  # which tolerates it for 300 s, as does
        "once": False,
    }
    eventually(lambda: lab.probe("client", "web:80").reached)
    (finding,) = lab.diagnose().findings
    assert (finding.kind, finding.fault, finding.mend) == ("node", "off", "k8snetlab node start node2")

    lab.kill("daemon")
    lab.up(goodbye.parent)  # which warns of node2, and waits for nobody there
    (node,) = [one for one in lab.json("status")["nodes"] if one["name"] == "node2"]
    assert node["off"] and not node["ready"] and not netns.exists(lab.netns("node2"))

    boot = lab.get("node", "node2")["status"]["nodeInfo"]["bootID"]
    told = {(name, reason) for name, reason, _ in reasons(lab)}
    assert {("node2", "RegisteredNode"), ("node2", "Starting"), ("node2", "NodeReady")} <= told
    assert ("node2", "Rebooted") not in told
    lab.run("node", "start", "node2")
    eventually(
        lambda: (
            ready_of(lab, "node2") == ("True", "KubeletReady") and not lab.get("node", "node2")["spec"].get("taints")
        )
    )
    eventually(lambda: [one["metadata"]["name"] for one in pods(lab)["node2"]] == ["loyal", "once"])
    eventually(lambda: lab.get("pod", "loyal")["status"]["containerStatuses"][0]["restartCount"] == 1)
    booted(lab, boot)
    eventually(lambda: lab.probe("client", "node2", "-p", "icmp").reached)
    eventually(lambda: lab.diagnose().findings == ())
    assert "on already" in lab.run("node", "start", "node2")


def test_what_has_no_such_switch_is_named(lab: Lab) -> None:
    assert "nodes: node1, node2" in lab.run("node", "stop", "router", code=1)
    assert "node 'nope' not found" in lab.run("node", "start", "nope", code=1)
