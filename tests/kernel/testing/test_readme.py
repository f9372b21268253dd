"""README.md's test of five lines, run by somebody who has installed k8snetlab and pytest, and has no checkout."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from built import install, run
from repository import ROOT

from k8snetlab.kernel import netns


@pytest.fixture(scope="module")
def bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("wheel"))


NOTING = """
import pathlib
import pytest

@pytest.fixture(autouse=True)
def noted(lab):
    with pathlib.Path("labs").open("a") as file:
        print(lab.name, lab.run_directory, file=file)
"""


def pytest_in(place: Path, bin: Path) -> str:
    """What pytest says to the test in `place`; afterwards nothing of its labs is there."""
    (place / "conftest.py").write_text(NOTING)
    done = run(bin / "python", "-m", "pytest", "-p", "no:cacheprovider", cwd=place)
    assert (place / "labs").exists(), done.stdout
    for line in (place / "labs").read_text().splitlines():
        name, directory = line.split()
        assert not Path(directory).parent.exists()
        assert not [one for one in netns.names() if one.startswith(f"{name}.")]
    return done.stdout + done.stderr


def snippet() -> str:
    [found] = re.findall(r"```python\n(import pytest\n.*?)```", (ROOT / "README.md").read_text(), re.S)
    return str(found)


def test_the_test_in_the_readme_has_five_lines_and_passes(tmp_path: Path, bin: Path) -> None:
    assert len([line for line in snippet().splitlines() if line]) <= 5
    (tmp_path / "test_web.py").write_text(snippet())
    said = pytest_in(tmp_path, bin)
    assert "1 passed" in said, said


FAILING = """
import pytest

@pytest.mark.lab("mine")
def test_wrong(lab):
    assert lab.probe("node1", "outside:7").reached

@pytest.mark.lab("mine/lab.yaml", scope="module")
@pytest.mark.parametrize("number", range(2))
def test_shared(lab, number, request):
    assert lab.exec("node1", "ip", "route")
    assert request.config.stash.setdefault(KEY, lab) is lab

KEY = pytest.StashKey()
"""


def test_a_failed_test_shows_what_the_daemon_logged_and_labs_of_a_directory_are_taken_down(
    tmp_path: Path, bin: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/lab.yaml").write_text(
        "apiVersion: k8snetlab/v1alpha1\nkind: Lab\nmetadata: {name: mine}\nspec: {nodes: 1}\n"
    )
    (tmp_path / "test_mine.py").write_text(FAILING)
    said = pytest_in(tmp_path, bin)
    assert "1 failed, 2 passed" in said, said
    assert re.search(r"- logs of lab t[0-9a-f]{6} -+\n--- daemon.log\n", said), said
