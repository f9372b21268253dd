"""docs/github-actions.yml: its steps, run one after the other as GitHub's runner does, on a scenario that passes, and
once it does not. What only GitHub has (checkout, artifacts) and the installation from packages are left out; the
image's and the wheel's tests install the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from repository import ROOT

from k8snetlab.testing import Lab

pytestmark = pytest.mark.root
WORKFLOW = ROOT / "docs/github-actions.yml"
STEPS = (
    "What this machine offers",
    "Build the network",
    "Check what is expected",
    "What is broken",
    "Take it down",
)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    lab.run("scenario", "new", str(tmp_path / "network"), "--nodes", "2")
    yield lab
    lab.down()


def job() -> dict[str, Any]:
    (found,) = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    return dict(found)


def ran(lab: Lab, directory: Path, *names: str) -> dict[str, int | None]:
    """The steps of these names, and how each ended; None where it was passed over."""
    codes: dict[str, int | None] = {}
    beside = {**lab.environment, "PATH": f"{Path(sys.executable).parent}:{lab.environment['PATH']}"}
    for step in [step for step in job()["steps"] if step.get("name") in names]:
        failed = any(codes.values())
        if {"always()": False, "failure()": not failed}.get(step.get("if", ""), failed):
            codes[step["name"]] = None
            continue
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        codes[step["name"]] = subprocess.run(shell, cwd=directory, env=beside, check=False, timeout=300).returncode
    return codes


def test_the_workflow_passes_where_all_is_as_expected_and_fails_where_something_is_not(
    lab: Lab, tmp_path: Path
) -> None:
    build, check, why, down = STEPS[1:]
    assert {step["name"] for step in job()["steps"] if "run" in step} == {"Install", *STEPS}
    assert ran(lab, tmp_path, *STEPS[:3]) == dict.fromkeys(STEPS[:3], 0)
    suite = ElementTree.parse(tmp_path / "report.xml").getroot()
    assert suite.findall(".//testcase") and not suite.findall(".//failure")
    with (tmp_path / "network/expect.yaml").open("a") as file:
        file.write("  - {from: outside, to: node1:81}\n")
    assert ran(lab, tmp_path, check, why, build, down) == {build: 0, check: 1, why: 0, down: 0}
    assert ElementTree.parse(tmp_path / "report.xml").getroot().findall(".//failure")
    assert not (lab.run_directory / lab.name).exists(), "the lab is down"


def test_the_workflow_is_privileged_and_installs_what_the_readme_says() -> None:
    assert "--privileged" in job()["container"]["options"]
    (install,) = [step["run"] for step in job()["steps"] if step.get("name") == "Install"]
    (packages,) = [line for line in install.splitlines() if line.startswith("apt-get install")]
    assert f"`{packages}`" in (ROOT / "README.md").read_text()
