"""A command that is started inside: which process it is."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from k8snetlab.kernel import cgroups, inventory, launch
from k8snetlab.kernel.launch import Setting
from k8snetlab.testing import eventually

pytestmark = pytest.mark.root


def begun(setting: Setting) -> subprocess.Popen[bytes]:
    process, said = launch.popen(setting, ("sleep", "600"), dict(os.environ), subprocess.DEVNULL)
    with os.fdopen(said, "rb") as report:
        assert launch.hindrance(report.read()) is None
    return process


def comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_a_command_in_a_pid_namespace_is_its_second_process(namespace: Callable[..., str]) -> None:
    process = begun(Setting(namespace()))
    try:
        main = launch.main_process(process.pid)
        assert main != process.pid and comm(main) == "sleep"
    finally:
        process.kill()
        process.wait()
    eventually(lambda: not Path(f"/proc/{main}").exists())


def test_a_command_that_has_ended_is_no_process_though_those_before_it_still_are(namespace: Callable[..., str]) -> None:
    process = begun(Setting(namespace()))
    try:
        main = launch.main_process(process.pid)
        os.kill(process.pid, signal.SIGSTOP)  # who stands still does not get to its own end
        os.kill(inventory.parent(main), signal.SIGKILL)
        eventually(lambda: not Path(f"/proc/{main}").exists())
        assert launch.main_process(process.pid) == 0
    finally:
        process.kill()
        process.wait()
    assert launch.main_process(process.pid) == 0


def test_a_command_in_a_control_group_is_the_process_that_was_started(namespace: Callable[..., str]) -> None:
    hierarchy, name = cgroups.hierarchy(), namespace()
    if hierarchy is None:
        pytest.skip("no control groups can be made here")
    group = hierarchy / cgroups.PARENT / name
    process = begun(Setting(name, cgroup=str(group)))
    try:
        assert launch.main_process(process.pid) == process.pid and comm(process.pid) == "sleep"
    finally:
        cgroups.end(group)
        process.wait()
