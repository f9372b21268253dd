"""The fault point: who dies before which effect."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

from k8snetlab.kernel.fault import ROLES

DAEMON, KUBELET = "/opt/k8snetlab/lab/main.py", "/opt/k8snetlab/kubelet/main.py"
PROGRAM = """
import sys
from k8snetlab.kernel import fault
sys.argv[0] = sys.argv[1]
for number in range(1, 5):
    fault.point()
    print(number, flush=True)
"""


def effects(wanted: str, role: str = DAEMON) -> tuple[int, int]:
    """How many of four effects a process has, and its exit code."""
    environment = {**os.environ, "K8SNETLAB_FAULT": wanted}
    done = subprocess.run([sys.executable, "-c", PROGRAM, role], env=environment, capture_output=True, text=True)
    assert not done.stderr
    return len(done.stdout.split()), done.returncode


def test_by_number_any_process_dies_before_that_effect() -> None:
    assert effects("3") == (2, -9)
    assert effects("9") == (4, 0)


@pytest.mark.parametrize(("role", "had"), [(DAEMON, (1, -9)), (KUBELET, (4, 0)), ("other/main.py", (4, 0))])
def test_by_file_only_the_role_dies_and_takes_the_order_away(tmp_path: Path, role: str, had: tuple[int, int]) -> None:
    order = tmp_path / "fault"
    order.write_text("1 daemon 2")
    assert effects(str(order), role) == had
    assert order.exists() == (had[1] == 0)


def test_without_an_order_or_with_nonsense_nobody_dies(tmp_path: Path) -> None:
    order = tmp_path / "fault"
    assert effects(str(order)) == (4, 0)
    order.write_text("nonsense")
    assert effects(str(order)) == (4, 0)


def test_each_effect_is_told_by_role_and_place(tmp_path: Path) -> None:
    order = tmp_path / "fault"
    order.write_text("1 none 0")
    effects(str(order), KUBELET)
    seen = order.with_suffix(".seen").read_text().splitlines()
    assert len(seen) == 4 and all(line.startswith("kubelet ") for line in seen)


def test_every_role_is_a_program_that_there_is() -> None:
    assert set(ROLES.values()) == {"cli", "daemon", "kubelet"}
    assert [program for program in ROLES if program.endswith(".py") and not (ROOT / program).exists()] == []
