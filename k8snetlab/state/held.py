"""What `exec` has begun where there are no control groups, noted before it begins, so that it ends with pod and lab.

A note is a file of the process that waits as the parent of the command's pid namespace: with it all in there end.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import msgspec

from k8snetlab.state.processes import ProcessId


def note(directory: Path) -> None:
    """Notes the calling process."""
    identity = ProcessId.of(os.getpid())
    assert identity is not None
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / str(identity.pid)).write_bytes(msgspec.json.encode(identity))


def end(directory: Path) -> None:
    """Kills all that is noted in a directory and below, as the end of a container kills what was begun in it."""
    for file in directory.rglob("[0-9]*"):
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            if file.is_file():
                _kill(msgspec.json.decode(file.read_bytes(), type=ProcessId))
                file.unlink()
    with contextlib.suppress(OSError):
        directory.rmdir()


def _kill(process: ProcessId) -> None:
    fd = os.pidfd_open(process.pid)
    try:
        if process.alive and process.pid != os.getpid():
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    finally:
        os.close(fd)
