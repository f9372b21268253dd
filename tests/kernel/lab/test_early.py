"""What verbs ask is asked before the command line is loaded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from k8snetlab.testing import Lab

OBJECTS = """apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 1, dns: {enabled: false}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: i, ports: [{containerPort: 80}]}]}
"""
FORMS = (
    "status",
    "status -o json",
    "diagnose",
    "diagnose --predict-only",
    "graph",
    "graph -o svg",
    "tables node1",
    "tables web",
    "scale deployment/web --replicas 2",
    "scale deploy/web --replicas 1 -o json",
    "scale deployment/none --replicas 1",
)
SCRIPT = """
import sys
from k8snetlab.client import early
asked = early.requests_of(sys.argv[1:])
early.ask(sys.argv[1:])
assert early.untaken() == list(asked) != []
from k8snetlab.cli.main import main
try:
    main()
finally:
    assert early.untaken() == [], early.untaken()
"""
"""As `__main__` does it."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("early")
    (directory / "lab.yaml").write_text(OBJECTS)
    lab = Lab(directory)
    lab.up(directory / "lab.yaml")
    yield lab
    lab.down()


@pytest.mark.parametrize("form", FORMS)
def test_what_was_asked_early_is_what_the_verb_asks(lab: Lab, form: str) -> None:
    words = [sys.executable, "-c", SCRIPT, *form.split()]
    done = subprocess.run(words, env=lab.environment, capture_output=True, text=True, timeout=60)
    assert "Assertion" not in done.stderr, done.stderr
    assert done.returncode == ("none" in form), done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_no_connection_takes_the_place_of_a_closed_stream(lab: Lab, closed: str) -> None:
    command = f"exec {sys.executable} -m k8snetlab status {closed}"
    done = subprocess.run(["sh", "-c", command], env=lab.environment, capture_output=True, text=True, timeout=60)
    assert "bug" not in done.stderr
    if closed == ">&-":
        assert (done.returncode, "standard output: Bad file descriptor" in done.stderr) == (1, True)
    else:
        assert (done.returncode, "node1" in done.stdout) == (0, True), done.stderr
