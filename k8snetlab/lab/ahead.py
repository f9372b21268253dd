"""A lab's daemon that loads while the lab's files are read: what it is made of takes longer than they do.

It touches nothing until it gets the byte that `state.ledger.let_begin` writes; where its standard input ends before,
so does it. So nothing has happened where the files are refused. Before that byte it may be handed objects (`handing`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING

from k8snetlab.state.paths import LabPaths, names_lab

if TYPE_CHECKING:
    from k8snetlab.api.meta import Object

HANDED = b"o"
"""Says on its standard input that it has objects."""
WITH_NAMES = b"n"
"""The byte for the daemon of a lab with DNS pods: its name server begins with it, which takes as long to load."""


class Ahead:
    """The process, until somebody takes it."""

    def __init__(self, lab: str) -> None:
        self._lab = lab
        self._objects = _memory()
        process = launched(lab, objects=self._objects)
        self._process: subprocess.Popen[bytes] | None = process
        self.pid = process.pid
        self.handed: Sequence[Object] = ()
        """What it was handed."""

    def hand(self, objects: Sequence[Object]) -> None:
        """Has it decode those of the objects that can be handed on, once."""
        from k8snetlab.lab import handing

        if not (handed := handing.handable(objects)) or self._process is None or self._process.stdin is None:
            return
        handing.write(self._objects, handed)
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(HANDED)
            self._process.stdin.flush()
        self.handed = handed

    @property
    def is_taken(self) -> bool:
        return self._process is None

    def taken(self, lab: str) -> subprocess.Popen[bytes] | None:
        """The process, once, where it is to be that lab's daemon and lives."""
        process = self._process
        if process is None or lab != self._lab or process.poll() is not None:
            return None
        self._process = None
        return process

    def drop(self) -> None:
        os.close(self._objects)
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


@contextlib.contextmanager
def ahead(lab: str) -> Iterator[Ahead | None]:
    """None where a daemon of that lab may run already, where no lab is called so, and for who may not start one."""
    if os.geteuid() or not names_lab(lab) or LabPaths(lab).lock.exists():
        yield None
        return
    loading = Ahead(lab)
    try:
        yield loading
    finally:
        loading.drop()


def launched(
    lab: str, log: IO[bytes] | int = subprocess.DEVNULL, objects: int | None = None
) -> subprocess.Popen[bytes]:
    """A daemon's process, which waits for its byte; what it says until then goes to `log`, and what it is handed comes
    in the open file `objects`."""
    command = [sys.executable, "-m", "k8snetlab.lab.main", "--lab", lab]
    if objects is not None:
        command += ["--objects", str(objects)]
    return subprocess.Popen(
        command,
        pass_fds=() if objects is None else (objects,),
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        start_new_session=True,
        cwd="/",
    )


def _memory() -> int:
    """A file in memory. Its descriptor is none of the first three, which another process has for something else: one of
    them is free where a command line was begun without it."""
    made = os.memfd_create("objects")
    try:
        return fcntl.fcntl(made, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(made)
