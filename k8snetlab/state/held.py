"""What `exec` has begun on a machine without control groups, so that it ends with its pod or lab.

A note is a file that names the process which waits as the parent of the command's pid namespace. It is written before
the command begins; when that process ends, the kernel ends everything in the pid namespace.
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
    """Kills every process that is noted in the directory or below it, as the end of a container would."""
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
