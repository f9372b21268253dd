"""What Vagrant makes of the Vagrantfile. `vagrant up` itself fetches a box, and is nothing for a test."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .image import REPOSITORY

pytestmark = pytest.mark.skipif(shutil.which("vagrant") is None, reason="needs vagrant (`make test-vm` installs it)")


def validate(directory: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    places = {"VAGRANT_HOME": str(directory / "home"), "VAGRANT_DOTFILE_PATH": str(directory / "state")}
    listed = subprocess.run(["vagrant", "plugin", "list"], env=os.environ | places, capture_output=True, text=True)
    ignoring = [] if "vagrant-libvirt" in listed.stdout else ["--ignore-provider"]
    return subprocess.run(
        ["vagrant", "validate", *ignoring],
        cwd=REPOSITORY,
        env=os.environ | places | settings,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("nodes", ["1", "2", "5"])
def test_vagrant_takes_it(tmp_path: Path, nodes: str) -> None:
    done = validate(tmp_path, NODES=nodes)
    assert (done.returncode, done.stdout) == (0, "Vagrantfile validated successfully.\n"), done.stderr


@pytest.mark.parametrize("nodes", ["0", "two", "-1"])
def test_a_senseless_number_is_one_clear_sentence(tmp_path: Path, nodes: str) -> None:
    done = validate(tmp_path, NODES=nodes)
    assert done.returncode != 0
    assert done.stderr == f"error: NODES={nodes}: a number from 1 to 99 is wanted\n"
