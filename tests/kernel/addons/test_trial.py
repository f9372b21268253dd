"""What a program is asked: its answer is waited for from when the question has begun."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.addons import trial
from k8snetlab.addons.program import Place
from k8snetlab.kernel import netns


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    name = f"trial-{secrets.token_hex(3)}"
    netns.create(name)
    yield Place("node1", name, netns.inode(name), str(tmp_path))
    netns.delete(name)


def test_a_command_that_begins_late_is_not_one_that_does_not_answer(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on an emulated processor, where the interpreter alone takes longer than an answer may."""
    slow = tmp_path / "python"
    slow.write_text(f'#!/bin/sh\nsleep 2\nexec {sys.executable} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    assert trial.look(place, tmp_path, ("true",), 0.1).problem == ""
    silent = trial.look(place, tmp_path, ("sleep", "600"), 0.1)
    assert silent.problem.startswith("no answer within") and silent.slower >= 2 / trial.USUAL
    spoken = ("sh", "-c", "echo 2026/11/30 12:00:00 [emerg] no such port; echo test failed; exit 1")
    assert trial.failure(place, tmp_path, spoken) == "[emerg] no such port"
    assert "no-such-program" in trial.failure(place, tmp_path, ("no-such-program",))


def test_a_plain_command_runs_in_its_directory_and_is_ended_like_others(place: Place, tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    assert trial.failure(place, tmp_path, ("test", "-e", "here"), plain=True) == ""
    assert trial.failure(place, tmp_path, ("test", "-e", "there"), plain=True) == "it ended with 1"
    assert trial.failure(place, tmp_path, ("sleep", "600"), 0.1, plain=True).startswith("no answer within")
    assert "no-such-program" in trial.failure(place, tmp_path, ("no-such-program",), plain=True)
