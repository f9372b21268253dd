"""This checkout as a disk: what git would commit, so that a guest or a container runs exactly what is worked on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .image import REPOSITORY


def tree(directory: Path) -> Path:
    """A copy of the checkout in `directory`, with the guest's virtual environment at its usual place, .venv.

    Times of files are all the same and old, so that make takes the environment for up to date.
    """
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, check=True, capture_output=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        source, target = REPOSITORY / name, directory / name
        if source.is_file():  # git still lists what was deleted and not yet committed
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
            os.utime(target, (0, 0))
    (directory / ".venv").symlink_to("/opt/venv")
    return directory


def disk(directory: Path) -> Path:
    """The checkout as an ext4 file system of 64 MB, in a file in `directory`."""
    files = tree(directory / "checkout")
    # what takes a guest on an emulated processor seconds; a Python of another version than its own does it in vain
    compiling = [sys.executable, "-m", "compileall", "-q", "-d", "/opt/k8snetlab/k8snetlab", str(files / "k8snetlab")]
    subprocess.run(compiling, check=True, env={k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"})
    image = directory / "checkout.ext4"
    command = ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", str(files), str(image), "64M"]
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PATH": path})
    return image
