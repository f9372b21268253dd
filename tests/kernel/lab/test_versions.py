"""A lab whose daemon is of another version, as an update of k8snetlab leaves it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.state.ledger import Ledger, let_begin
from k8snetlab.testing import Lab, eventually

OTHER = """
import sys, k8snetlab
k8snetlab.__version__ = "0.0.1"
from k8snetlab.lab import main
sys.argv = ["daemon", "--lab", sys.argv[1]]
main.main()
"""
FILE = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 1, dns: {enabled: false}}
---
apiVersion: v1
kind: Pod
metadata: {name: a}
spec: {containers: [{name: c, command: [sleep, infinity]}]}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    if lab.run_directory.exists():
        subprocess.run(lab.command("down"), env=lab.environment, capture_output=True, timeout=200)


def begin_another_version(lab: Lab) -> subprocess.Popen[bytes]:
    """The lab's daemon, as one of version 0.0.1."""
    directory = lab.run_directory / lab.name
    with (directory / "daemon.log").open("ab") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-c", OTHER, lab.name],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=lab.environment,
            start_new_session=True,
        )
    let_begin(daemon, Ledger(directory / "ledger"), "daemon")
    try:
        eventually(lambda: '"0.0.1"' in lab.run("status", "-o", "json", code=None))
    except AssertionError:
        daemon.kill()
        daemon.wait()
        raise
    return daemon


def test_a_daemon_of_another_version_says_so_and_up_replaces_it_while_pods_run_on(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(FILE)
    lab.run("up", str(file))
    before = lab.json("status")
    Ledger(lab.run_directory / lab.name / "ledger").processes[0].process.stop(120)
    other = begin_another_version(lab)
    refused = lab.run("rules", "--node", "node9", code=1)
    assert "its daemon is another version's: `k8snetlab up` with the lab's files replaces it" in refused
    lab.run("up", str(file))
    assert other.wait(120) == 0
    now = lab.json("status")
    assert now["daemon"]["version"] == before["daemon"]["version"]
    assert now["kubelet"] == before["kubelet"]
    assert lab.json("get", "pod", "a")["status"]["containerStatuses"][0]["restartCount"] == 0
