"""A daemon that is slow is waited for; one that does nothing is not."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from k8snetlab.errors import DaemonError
from k8snetlab.lab import down, up
from k8snetlab.testing import Lab


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    lab = Lab(tmp_path)
    monkeypatch.setenv("K8SNETLAB_RUN", lab.environment["K8SNETLAB_RUN"])
    yield lab.name
    for _ in down.remove(lab.name):
        pass


def test_a_daemon_at_work_gets_longer_than_its_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up, "START", 0.02)
    monkeypatch.setattr(up, "LONGEST", 100 / up.START)
    monkeypatch.setattr(up, "WORK", -1.0)  # on a busy machine it may not get a processor in every such moment
    assert up.start(name).list("Lab") == []


def test_a_daemon_that_hangs_is_given_up(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begin, hung = subprocess.Popen, list[int]()

    def begun(*words: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = begin(*words, **options)
        os.kill(process.pid, signal.SIGSTOP)
        hung.append(process.pid)
        return process

    monkeypatch.setattr(up, "START", 1.0)
    monkeypatch.setattr(up.subprocess, "Popen", begun)
    try:
        with pytest.raises(DaemonError, match="did not start"):
            up.start(name)
    finally:
        for pid in hung:
            os.kill(pid, signal.SIGKILL)
