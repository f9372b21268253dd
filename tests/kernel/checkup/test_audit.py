"""audit with a real lab: all of it has its owner, what is left behind is named, a baseline tells what is new."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from k8snetlab.kernel import netns, processes
from k8snetlab.testing import Lab, eventually

pytestmark = pytest.mark.lab("two-nodes")


def of(lab: Lab, owner: str | None = None) -> list[dict[str, Any]]:
    """The findings that name this lab; others may run on the machine meanwhile."""
    found = lab.json("audit", code=None)["findings"]
    return [one for one in found if owner == one["lab"] or (owner is None and lab.name in f"{one['name']}{one['of']}")]


def test_everything_of_a_lab_has_its_owner(lab: Lab) -> None:
    found = of(lab)
    assert {one["name"] for one in found if one["kind"] == "namespace"} == set(lab.namespaces())
    assert {one["kind"] for one in found} >= {"namespace", "mount", "process", "file"}
    assert [one["lab"] for one in found if "k8snetlab.nameserver" in one["name"]] == [lab.name]
    assert [one for one in found if one["lab"] != lab.name] == []
    lab.run("down")
    assert of(lab) == []


def test_what_belongs_to_none_is_named(lab: Lab, name: Callable[[str], str]) -> None:
    stray = f"{lab.name}.default.ghost"
    netns.create(stray)
    try:
        assert [(one["kind"], one["stray"]) for one in of(lab) if stray in one["name"]] == [
            ("namespace", True),
            ("mount", True),
        ]
        assert lab.run("audit", code=1).count(stray) == 2
    finally:
        netns.delete(stray)


def test_a_lab_whose_ledger_is_gone_is_a_stray(lab: Lab) -> None:
    ledger = lab.run_directory / lab.name / "ledger"
    pids = lab.pids()
    kept = ledger.read_bytes()
    ledger.unlink()
    try:
        kinds = {one["kind"] for one in of(lab) if one["stray"]}
        assert kinds >= {"process", "file"}
    finally:
        ledger.write_bytes(kept)
    assert pids == lab.pids()


def test_down_says_what_it_could_not_end(tmp_path: Path) -> None:
    """A namespace that no ledger has, of the lab's own name: `down` does not touch it, and does not hide it."""
    lab = Lab(tmp_path)
    lab.up("two-nodes")
    stray = f"{lab.name}.default.ghost"
    netns.create(stray)
    try:
        done = subprocess.run(lab.command("down"), env=lab.environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0 and stray in done.stderr
        assert lab.namespaces() == [stray]
    finally:
        processes.terminate(processes.pids_in(stray), 0.2)
        netns.delete(stray)


def test_a_baseline_tells_what_is_new_and_what_is_gone(tmp_path: Path, namespace: Callable[[str], str]) -> None:
    lab, file = Lab(tmp_path), tmp_path / "before.json"
    assert "things" in lab.run("audit", "--baseline", str(file))
    one = namespace("new")
    added = lab.json("audit", "--baseline", str(file), code=1)["added"]
    assert {thing["kind"] for thing in added if one in thing["name"]} == {"namespace", "mount"}
    netns.delete(one)
    report = lab.json("audit", "--baseline", str(file), code=None)
    assert [thing for thing in report["added"] if one in thing["name"]] == []
    file.write_text("[]")
    assert "is no baseline" in lab.run("audit", "--baseline", str(file), code=2)


def test_a_killed_daemon_is_still_the_labs(lab: Lab) -> None:
    lab.kill("daemon")
    eventually(lambda: len([one for one in of(lab, lab.name) if one["kind"] == "process"]) >= 1)
    assert [one for one in of(lab) if one["stray"]] == []
