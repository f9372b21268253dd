"""One process at a time starts a lab or takes it down. Another one waits, and goes on with what it then finds."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

from k8snetlab.errors import DaemonError
from k8snetlab.state.paths import LabPaths

TURN_TIMEOUT = 120.0
"""Seconds that a turn is waited for; starting a daemon takes 60 at most."""
LOOK = 0.02
"""Seconds between two tries."""


@contextlib.contextmanager
def turn(paths: LabPaths, create: bool) -> Iterator[bool]:
    """Locks the lab's directory, which `create` makes first; yields whether there is one.

    The kernel releases the lock with the process. Raises DaemonError when another process keeps it for too long.
    """
    deadline = time.monotonic() + TURN_TIMEOUT
    while (held := _held(paths, create)) is None:
        if time.monotonic() > deadline:
            raise DaemonError(
                f"lab {paths.directory.name}: another `up` or `down` has been at work on it for {TURN_TIMEOUT:.0f} s",
                f"`fuser {paths.directory}` shows who",
            )
        time.sleep(LOOK)
    try:
        yield held >= 0
    finally:
        if held >= 0:
            os.close(held)


def _held(paths: LabPaths, create: bool) -> int | None:
    """A descriptor of the locked directory; -1 where there is none, None when another process has the lock."""
    try:
        if create:
            paths.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(paths.directory, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None if create else -1
    except FileExistsError:  # a file; or the directory was taken away after it could not be made
        if os.path.lexists(paths.directory) and not paths.directory.is_dir():
            raise
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(fd), paths.directory.stat()):
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    # Another process has it, or has taken the directory away.
    os.close(fd)
    return None
