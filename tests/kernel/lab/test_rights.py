"""Who may do what, with a real daemon: other users, the group, and the daemon's own capabilities (docs/security.md)."""

from __future__ import annotations

import grp
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from repository import SCENARIOS

from k8snetlab.kernel.capabilities import BITS
from k8snetlab.testing import Lab

GROUP, USER = grp.getgrnam("games"), 54321


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Where other users could come by; pytest's own directory is closed to them."""
    place = Path(tempfile.mkdtemp(prefix="k8snetlab-rights-"))
    place.chmod(0o755)
    lab = Lab(place)
    lab.environment["K8SNETLAB_GROUP"] = GROUP.gr_name
    try:
        lab.run("up", str(SCENARIOS / "two-nodes"))
        yield lab
    finally:
        lab.run("down", code=None)
        shutil.rmtree(place)


def as_user(lab: Lab, group: int, *words: str) -> subprocess.CompletedProcess[str]:
    # The source is named: that of a checkout below root's home would be out of the user's sight.
    who = ["setpriv", f"--reuid={USER}", f"--regid={group}", "--clear-groups"]
    return subprocess.run(
        [*who, sys.executable, "-B", "-m", "k8snetlab", *words],
        env=lab.environment | {"HOME": "/"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def readable(lab: Lab) -> None:
    if as_user(lab, USER, "--version").returncode:
        pytest.skip("this checkout lies where other users cannot read it")


@pytest.mark.parametrize("words", [("status",), ("get", "pods"), ("rules",), ("probe", "client", "web:80")])
@pytest.mark.usefixtures("readable")
def test_users_outside_the_group_see_nothing(lab: Lab, words: tuple[str, ...]) -> None:
    done = as_user(lab, USER, *words)
    assert done.returncode != 0 and "sudo" in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.usefixtures("readable")
def test_the_group_looks_and_tries_and_changes_nothing(lab: Lab) -> None:
    for words in (("status",), ("get", "pods"), ("rules",), ("tables", "node1"), ("diagnose",), ("probe", "--all")):
        done = as_user(lab, GROUP.gr_gid, *words)
        assert done.returncode == 0, (words, done.stderr)
    for words in (("pause", "node1"), ("store", "dump"), ("down",), ("exec", "node1", "--", "id")):
        done = as_user(lab, GROUP.gr_gid, *words)
        assert done.returncode != 0 and "sudo" in done.stderr, (words, done.stdout, done.stderr)
    assert lab.json("status")["nodes"][0]["paused"] is False


def test_what_the_group_may_open_is_the_socket(lab: Lab) -> None:
    directory = lab.run_directory / lab.name
    open_to_group = {file.name for file in directory.iterdir() if file.stat().st_mode & 0o077}
    assert open_to_group <= {"api.sock"}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o710
    assert directory.stat().st_gid == GROUP.gr_gid


def test_the_daemon_has_the_capabilities_it_needs_and_no_others(lab: Lab) -> None:
    needed = sum(1 << bit for bit in BITS.values())
    status = Path(f"/proc/{lab.pids()['daemon']}/status").read_text()
    for which in ("CapEff", "CapPrm"):
        assert int(status.partition(f"{which}:")[2].split()[0], 16) & ~needed == 0
