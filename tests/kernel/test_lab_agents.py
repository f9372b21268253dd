"""The agents of a running lab: none dies unseen, and what others undo is put back."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from labs import Lab, eventually

from k8snetlab.errors import K8sNetLabError
from k8snetlab.lab.client import Client

pytestmark = pytest.mark.root

PODS = ("a", "b", "c")
LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 2}
"""
POD = """
---
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec: {nodeName: node1, containers: [{name: c, ports: [{containerPort: 80}]}]}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("agents")
    (directory / "lab.yaml").write_text(LAB + "".join(POD % name for name in PODS))
    (directory / "pods.yaml").write_text("".join(POD % name for name in PODS))
    lab = Lab(directory)
    try:
        lab.run("up", str(directory / "lab.yaml"))
        yield lab
    finally:
        subprocess.run(lab.command("down"), env=lab.environment, capture_output=True, timeout=60)


@pytest.fixture
def pods(lab: Lab) -> Path:
    return lab.run_directory.parent / "pods.yaml"


def test_agents_outlive_pods_that_come_and_go_beside_clients(
    lab: Lab, pods: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A descriptor that a sandbox's monitor had is a client's connection at once."""
    monkeypatch.setenv("K8SNETLAB_RUN", str(lab.run_directory))
    ended = threading.Event()

    def poll() -> None:
        while not ended.is_set():
            with contextlib.suppress(K8sNetLabError):
                Client(lab.name).list("Pod")

    clients = [threading.Thread(target=poll) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        for _ in range(4):
            lab.run("delete", "pod", *PODS)
            lab.run("apply", "-f", str(pods))
    finally:
        ended.set()
        for client in clients:
            client.join()
    status = lab.json("status")
    assert status["problems"] == [] and status["failures"] == []
    lab.shell("node1", "ip", "link", "set", "cni0", "down")
    eventually(lambda: "UP" in lab.shell("node1", "ip", "link", "show", "cni0").partition(">")[0])
    assert lab.probe("a", "b")["ok"]
