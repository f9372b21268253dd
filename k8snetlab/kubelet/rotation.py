"""Containers' logs kept to a size, without the writer's help: kubelet's containerLogMaxSize and containerLogMaxFiles.

A command writes straight into its file, so that nothing it prints waits for a kubelet that is busy or dead. What is
older than the newest `size` bytes is copied into files beside it, and its room in the file is given back (a hole is
punched): the file's offsets stay what they were, nothing is lost or moved, and whoever reads on just reads on.

`<n>.log` is the file, `<n>.log.<end>` an older part, named after the offset of its end, in 20 digits.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import threading
from pathlib import Path

import msgspec

from k8snetlab.kernel import syscalls
from k8snetlab.kubelet.times import noted

log = logging.getLogger(__name__)
PAGE = 4096
SOON = 0.02
"""Seconds between a write and the look at the file's size: who prints as fast as it can fills some tens of MB."""
FALLBACK = 1.0
"""Seconds between two looks where the kernel gives no inotify."""


class _Kept(msgspec.Struct):
    path: Path
    size: int
    files: int
    watch: int = -1
    rotated_by: int = 0
    """The size of the file at the last look."""
    noted_by: int = 0
    """The size of which the time is noted."""
    looked_at: bool = False
    """Whether a look at it is on its way: a second one would only wait for the first, in a thread that others need."""
    turn: threading.Lock = msgspec.field(default_factory=threading.Lock)

    def rotate(self) -> None:
        """One at a time: what one copies another would punch away."""
        with self.turn:
            rotate(self.path, self.size, self.files)


class LogKeeper:
    """The logs of the commands that run now; for use in the thread of the loop."""

    def __init__(self) -> None:
        self._kept: dict[Path, _Kept] = {}
        self._by_watch: dict[int, _Kept] = {}
        self._inotify = -1
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(self, path: Path, size: int, files: int) -> None:
        """From now on, and once more at `forget`; the logs of runs before the last one are taken away."""
        self._kept[path] = kept = _Kept(path, size, files)
        _forget_older(path)
        self._await_write(kept)

    def forget(self, path: Path) -> None:
        kept = self._kept.pop(path, None)
        if kept is not None:
            self._by_watch.pop(kept.watch, None)
            with contextlib.suppress(OSError):
                if noted(path, kept.noted_by) > kept.size:
                    kept.rotate()

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._inotify >= 0:
            asyncio.get_running_loop().remove_reader(self._inotify)
            os.close(self._inotify)
            self._inotify = -1

    def _await_write(self, kept: _Kept) -> None:
        """Has the kernel tell of the next write; one that came before this is seen by the size."""
        loop = asyncio.get_running_loop()
        try:
            if self._inotify < 0:
                self._inotify = syscalls.inotify()
                loop.add_reader(self._inotify, self._written)
            self._by_watch.pop(kept.watch, None)
            kept.watch = syscalls.await_write(self._inotify, str(kept.path))
            self._by_watch[kept.watch] = kept
            if kept.path.stat().st_size > kept.rotated_by:
                self._later(kept, SOON)
        except OSError:
            kept.watch = -1
            self._later(kept, FALLBACK)

    def _written(self) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._inotify, 1 << 16)
            at = 0
            while at < len(data):
                watch = int.from_bytes(data[at : at + 4], "little", signed=True)
                at += 16 + int.from_bytes(data[at + 12 : at + 16], "little")
                if (kept := self._by_watch.pop(watch, None)) is not None:
                    self._later(kept, SOON)

    def _later(self, kept: _Kept, seconds: float) -> None:
        if kept.looked_at:
            return
        kept.looked_at = True
        task = asyncio.get_running_loop().create_task(self._look(kept, seconds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self, kept: _Kept, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self._kept.get(kept.path) is not kept:
            return
        try:
            kept.rotated_by = kept.noted_by = noted(kept.path, kept.noted_by)
            if kept.rotated_by > kept.size:
                await asyncio.to_thread(kept.rotate)
        except OSError as error:
            log.warning("%s: %s", kept.path, error)
        kept.looked_at = False
        if self._kept.get(kept.path) is kept:
            self._await_write(kept)


def rotate(path: Path, size: int, files: int) -> None:
    """Moves what is more than `size` bytes into older parts of `size` bytes each; `files` - 1 stay. Idempotent;
    one that was killed in between is done again. Raises OSError."""
    part = max(PAGE, size - size % PAGE)
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        end = os.fstat(fd).st_size
        start = begin_of(fd, end)
        start -= start % PAGE
        if end - start <= size:
            return
        last = start + (end - start - 1) // part * part
        kept_from = last - (files - 1) * part
        if start < kept_from:
            _punch(fd, start, kept_from)
            start = kept_from
        for begin in range(start, last, part):
            _copy(fd, begin, begin + part, part_file(path, begin + part))
            _punch(fd, begin, begin + part)
        for old in older_parts(path)[: -(files - 1) or None]:
            old.unlink(missing_ok=True)
    finally:
        os.close(fd)


def begin_of(fd: int, end: int, at: int = 0) -> int:
    """Where what is kept in a file begins, at `at` or behind it; `end` where that is nothing."""
    try:
        return os.lseek(fd, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return end
        return at  # a file system that knows no holes


def part_file(path: Path, end: int) -> Path:
    return path.with_name(f"{path.name}.{end:020}")


def older_parts(path: Path) -> list[Path]:
    """Oldest first."""
    return sorted(path.parent.glob(f"{path.name}.{'[0-9]' * 20}"))


def _copy(fd: int, begin: int, end: int, to: Path) -> None:
    draft = to.with_name(to.name + ".new")
    out = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        while begin < end:
            done = os.sendfile(out, fd, begin, end - begin)
            if not done:
                break
            begin += done
    finally:
        os.close(out)
    draft.replace(to)


def _punch(fd: int, begin: int, end: int) -> None:
    while begin < end:
        length = min(end - begin, 1 << 40)
        syscalls.punch(fd, begin, length)
        begin += length


def _forget_older(path: Path) -> None:
    """Of the runs before, the last one's log stays: it is what `logs --previous` shows."""
    number = int(path.name.removesuffix(".log"))
    for file in path.parent.iterdir():
        run = file.name.partition(".")[0]
        if run.isdigit() and int(run) < number - 1:
            file.unlink(missing_ok=True)
