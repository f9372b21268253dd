"""A lab that is too large for this machine's limits is refused before anything of it is built."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.testing.lab import Lab

LARGE = """\
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 2, dns: {enabled: false}, maxPods: 250}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 400
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: x}]}}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    subprocess.run(lab.command("down"), env=lab.environment, capture_output=True, timeout=200)


def test_more_pods_than_the_daemon_may_have_open_files_are_refused_with_the_limit(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(LARGE)
    few = ["prlimit", "--nofile=300", *lab.command("up", str(file))]
    done = subprocess.run(few, env=lab.environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stdout + done.stderr
    said = " ".join(done.stderr.split())
    assert "this machine has no room for 400 more pods: open files of a process 540, of 300" in said
    assert "hint: ulimit -n 540 before `up`" in said
    assert lab.namespaces() == []
