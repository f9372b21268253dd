"""Faults in a lab's directory: written before they are done, a drill's so that nobody reads its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from k8snetlab.errors import StoreError
from k8snetlab.faults.drill import Drill
from k8snetlab.faults.fault import Command, Damage, Seen
from k8snetlab.faults.injected import Injected
from k8snetlab.state import drills
from k8snetlab.state.injected import InjectedFaults
from k8snetlab.state.paths import LabPaths

DAMAGE = Damage("flannel.1", Seen("a", "b"), (Command("l.node1", ("ip", "link", "set", "flannel.1", "down")),))


@pytest.fixture
def paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LabPaths:
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path))
    paths = LabPaths("l")
    paths.create()
    return paths


def test_what_is_written_is_read_by_the_next_daemon(paths: LabPaths) -> None:
    one, other = Injected("tunnel-down", "node1", 1.0, DAMAGE), Injected("vni", "node2", 2.0, DAMAGE)
    held = InjectedFaults(paths)
    held.put(one)
    held.put(other)
    assert InjectedFaults(paths).all == (one, other)
    held.drop(one)
    held.drop(other)
    assert not paths.faults.exists() and InjectedFaults(paths).all == ()


def test_a_drill_is_read_back_and_no_file_has_its_name(paths: LabPaths) -> None:
    hidden = Injected("tunnel-down", "node1", 1.0, DAMAGE, hidden=True)
    drills.write(paths, Drill(hidden, 1, 15, 1.0))
    InjectedFaults(paths).put(hidden)
    assert InjectedFaults(paths).all == (hidden,), "the agents are to leave it alone after a restart"
    for file in paths.directory.rglob("*"):
        if file.is_file():
            assert b"tunnel" not in file.read_bytes() and b"flannel" not in file.read_bytes(), file
            assert file.stat().st_mode & 0o077 == 0
    held = drills.running(paths)
    assert held is not None and held.fault == hidden
    drills.write(paths, Drill(hidden, 1, 15, 1.0, ended=2.0))
    assert InjectedFaults(paths).all == () and drills.running(paths) is None


def test_what_cannot_be_read_is_refused_and_left(paths: LabPaths) -> None:
    paths.faults.write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        InjectedFaults(paths)
    assert paths.faults.read_text() == "{"
    paths.drill.write_text("x")
    with pytest.raises(StoreError, match="cannot be opened"):
        drills.read(paths)
