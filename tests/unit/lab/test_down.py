"""What labs share goes with the last of them, or goes over to one that is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from k8snetlab.kernel import netns
from k8snetlab.lab import down
from k8snetlab.state import labs
from k8snetlab.state.ledger import Ledger
from k8snetlab.state.paths import LabPaths


@pytest.fixture
def removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was undone. Of the labs that seem to run `ending` is taken down by somebody else in this moment."""
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path))
    monkeypatch.setattr(labs, "running", lambda: sorted(["ending", "own", *(one.name for one in tmp_path.iterdir())]))
    found: list[str] = []
    monkeypatch.setattr(netns, "remove_directory", lambda: found.append("directory"))
    return found


def brought(lab: str) -> Ledger:
    paths = LabPaths(lab)
    paths.create()
    ledger = Ledger(paths.ledger)
    ledger.own_netns_directory()
    return ledger


def test_a_lab_that_is_ending_too_inherits_nothing(removed: list[str]) -> None:
    down._give_back(brought("own"), "own")
    assert removed == ["directory"] and not LabPaths("ending").directory.exists()


def test_the_next_lab_inherits_where_one_is_ending(removed: list[str]) -> None:
    other = LabPaths("other")
    other.create()
    down._give_back(brought("own"), "own")
    assert Ledger(other.ledger).made_netns_directory and not removed
