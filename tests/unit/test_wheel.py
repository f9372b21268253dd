"""A built wheel in an environment of its own is the whole command, with its scenarios, wherever it is called."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from repository import ROOT

pytestmark = pytest.mark.slow


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run([*map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=250)


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel alone is installed; what it depends on is found where the tests have it."""
    place = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", place, ROOT, cwd=place)
    if built.returncode and "hatchling" in built.stderr:
        pytest.skip("the build needs hatchling, which cannot be fetched here")
    assert built.returncode == 0, built.stderr
    [wheel] = place.glob("*.whl")
    assert run(sys.executable, "-m", "venv", "--without-pip", place / "venv", cwd=place).returncode == 0
    python = place / "venv/bin/python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    done = run(*pip, "install", "-q", "--no-deps", "--no-index", wheel, cwd=place)
    assert done.returncode == 0, done.stderr
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (place / f"venv/lib/{version}/site-packages/tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place / "venv/bin/k8snetlab"


def test_help_and_version(command: Path, tmp_path: Path) -> None:
    assert "probe" in run(command, "--help", cwd=tmp_path).stdout
    assert run(command, "--version", cwd=tmp_path).stdout.startswith("k8snetlab ")


def test_it_is_the_wheels_code_that_runs(command: Path, tmp_path: Path) -> None:
    done = run(command.parent / "python", "-c", "import k8snetlab; print(k8snetlab.__file__)", cwd=tmp_path)
    assert str(command.parents[1]) in done.stdout


def test_scenarios_are_found(command: Path, tmp_path: Path) -> None:
    done = run(command, "render", "-f", "two-nodes", "--node", "node1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "KUBE-SERVICES" in done.stdout and "ip netns add" in done.stdout
