"""What does not fit, and what controllers are refused: nothing waits for ever, and it is said where people look."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from k8snetlab.testing import Lab, eventually

EDGE = """---
apiVersion: apps/v1
kind: Deployment
metadata: {name: edge}
spec:
  replicas: %d
  selector: {matchLabels: {app: edge}}
  template:
    metadata: {labels: {app: edge}}
    spec: {containers: [{name: c, image: %s, ports: [{containerPort: 80, hostPort: 8080}]}]}
"""
PINNED = (
    EDGE.replace("edge", "pinned").replace("spec: {con", "spec: {nodeName: node2, con").replace(", hostPort: 8080", "")
)
LAB = (
    "{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: %s},"
    " spec: {nodes: %d, dns: {enabled: false}, maxPods: 20}}\n"
)
NO_PORTS = (
    "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. no new claims to "
    "deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("controllers"))
    yield lab
    lab.run("down")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("manifests")


def up(lab: Lab, directory: Path, nodes: int, manifests: str) -> str:
    file = directory / "lab.yaml"
    file.write_text(LAB % (lab.name, nodes) + manifests)
    return lab.run("up", "--yes", str(file), code=None)


def pods(lab: Lab) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for pod in lab.json("get", "pods")["items"]:
        found.setdefault(pod["status"]["phase"], []).append(pod)
    return found


def reasons(lab: Lab) -> set[tuple[str, str]]:
    return {(e["reason"], e["message"]) for e in lab.json("get", "events")["items"]}


def test_of_two_pods_with_one_host_port_one_waits_and_is_named(lab: Lab, directory: Path) -> None:
    up(lab, directory, 1, EDGE % (2, "a"))
    found = pods(lab)
    assert {phase: len(those) for phase, those in found.items()} == {"Running": 1, "Pending": 1}
    (waiting,) = found["Pending"]
    (condition,) = [c for c in waiting["status"]["conditions"] if c["type"] == "PodScheduled"]
    assert (condition["reason"], condition["message"]) == ("Unschedulable", NO_PORTS)
    name = waiting["metadata"]["name"]
    assert f"pod default/{name}: {NO_PORTS}" in " ".join(lab.run("status").split())
    assert name in lab.run("diagnose", code=1)
    eventually(lambda: ("FailedScheduling", NO_PORTS) in reasons(lab))
    assert any(reason == "Scheduled" for reason, _ in reasons(lab))
    header, *lines = lab.run("get", "events").splitlines()
    assert header.split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert any(f"pod/{name}" in line and "Warning" in line for line in lines)


def test_a_rolling_update_that_cannot_move_keeps_the_old_pod(lab: Lab, directory: Path) -> None:
    up(lab, directory, 1, EDGE % (1, "a"))
    (old,) = pods(lab)["Running"]
    (directory / "edge.yaml").write_text(EDGE % (1, "b"))
    lab.run("apply", "-f", str(directory / "edge.yaml"), code=None)
    found = pods(lab)
    assert [pod["metadata"]["name"] for pod in found["Running"]] == [old["metadata"]["name"]]
    assert len(found["Pending"]) == 1


def test_what_a_controller_is_refused_stops_nobody(lab: Lab, directory: Path) -> None:
    up(lab, directory, 2, "")
    (directory / "pinned.yaml").write_text(PINNED % (1, "a"))
    lab.run("apply", "-f", str(directory / "pinned.yaml"))
    up(lab, directory, 1, EDGE % (1, "a"))
    assert [p["metadata"]["labels"]["app"] for p in pods(lab)["Running"]] == ["edge"]
    eventually(lambda: lab.json("status")["controllers"])
    (failing,) = lab.json("status")["controllers"]
    assert (failing["controller"], failing["kind"]) == ("replicaset-controller", "ReplicaSet")
    assert 'there is no node "node2"' in " ".join(lab.run("status").split())
    assert failing["name"] in lab.run("diagnose", code=1)
    eventually(lambda: any(reason == "FailedCreate" for reason, _ in reasons(lab)))
    up(lab, directory, 2, EDGE % (1, "a"))
    eventually(lambda: not lab.json("status")["controllers"] and len(pods(lab)["Running"]) == 2)


def test_more_pods_than_a_node_takes_are_rejected_by_it(lab: Lab) -> None:
    lab.run("scale", "deployment/pinned", "--replicas", "400", code=None)
    found = pods(lab)
    rejected = {pod["status"]["reason"] for pod in found["Failed"]}
    assert rejected == {"OutOfpods"} and len(found["Failed"]) == 380
    assert lab.json("get", "node", "node2")["status"]["allocatable"]["pods"] == "20"
    labels = lab.json("get", "node", "node2")["metadata"]["labels"]
    assert {
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os",
    } < labels.keys()
