"""A kill before any effect of `up` or `down`: the next `down` takes all away, as if nothing had been."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from k8snetlab.testing import Lab

LAB = "apiVersion: k8snetlab/v1alpha1\nkind: Lab\nspec: {nodes: 1, dns: {enabled: false}}\n"


def dies(lab: Lab, point: int, *words: str) -> None:
    """Runs a verb whose process, or whose daemon's, dies before its effect number `point`."""
    environment = {**lab.environment, "K8SNETLAB_FAULT": str(point)}
    running = subprocess.Popen(
        lab.command(*words), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    running.wait(200)


@pytest.mark.parametrize("verb", ["up", "down"])
@pytest.mark.parametrize("point", [1, 2, 3, 4, 5, 7, 9])
def test_down_takes_away_what_a_kill_left(tmp_path: Path, verb: str, point: int) -> None:
    lab, file = Lab(tmp_path), tmp_path / "lab.yaml"
    file.write_text(LAB)
    if verb == "up":
        dies(lab, point, "up", str(file))
    else:
        lab.run("up", str(file))
        dies(lab, point, "down")
    if lab.run_directory.exists() and any(lab.run_directory.iterdir()):
        lab.run("down", code=None)
    assert lab.namespaces() == []
    left = lab.run_directory / lab.name
    assert not left.exists() or not list(left.iterdir())


def test_down_takes_away_a_directory_that_up_had_only_begun(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    directory = lab.run_directory / lab.name
    for words in (["down"], ["down", "--all"]):
        directory.mkdir(parents=True)
        lab.run(*words)
        assert not lab.run_directory.exists()
