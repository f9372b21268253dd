"""A built wheel in an environment of its own is the whole command, with its scenarios, wherever it is called."""

from __future__ import annotations

from pathlib import Path

import pytest
from built import install, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel's commands are."""
    return install(tmp_path_factory.mktemp("wheel"))


def test_the_wheels_command_has_help_and_version(bin: Path, tmp_path: Path) -> None:
    assert "probe" in run(bin / "k8snetlab", "--help", cwd=tmp_path).stdout
    assert run(bin / "k8snetlab", "--version", cwd=tmp_path).stdout.startswith("k8snetlab ")


def test_it_is_the_wheels_code_that_runs(bin: Path, tmp_path: Path) -> None:
    done = run(bin / "python", "-c", "import k8snetlab; print(k8snetlab.__file__)", cwd=tmp_path)
    assert str(bin.parent) in done.stdout


def test_what_kubectl_explain_says_is_in_it(bin: Path, tmp_path: Path) -> None:
    code = "from k8snetlab.apiserver import describing; print(describing.of_field('ServiceSpec', 'clusterIP'))"
    done = run(bin / "python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.strip(), done.stderr


def test_scenarios_are_found(bin: Path, tmp_path: Path) -> None:
    done = run(bin / "k8snetlab", "render", "-f", "two-nodes", "--node", "node1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "KUBE-SERVICES" in done.stdout and "ip netns add" in done.stdout
