"""/etc/netns/NAME: the files that `ip netns exec` puts in place of those in /etc."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from k8snetlab.kernel import fault

DIRECTORY = Path("/etc/netns")


def write(name: str, files: Mapping[str, str]) -> None:
    """The files of a namespace, written where they are: who has one mounted over another sees the new text, too.

    Raises OSError.
    """
    put(DIRECTORY / name, files)


def put(directory: Path, files: Mapping[str, str]) -> None:
    """As `write`, in a directory that is made where it is not there."""
    fault.point()
    directory.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        data = text.encode()
        target = directory / file
        with contextlib.suppress(OSError):
            if target.read_bytes() == data:
                continue
        fault.point()
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(data)


def read(name: str, file: str) -> str | None:
    """What stands in a file of a namespace's, None where it has none of its own. Raises OSError."""
    try:
        return (DIRECTORY / name / file).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def names() -> list[str]:
    """The namespaces that have files, sorted."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(file.name for file in DIRECTORY.iterdir())
    return []


def remove(name: str) -> None:
    """Nothing happens where there are none."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(DIRECTORY / name)
        with contextlib.suppress(OSError):
            DIRECTORY.rmdir()
