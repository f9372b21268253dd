"""What a container wrote: its last lines, and how it goes on.

The stream is in the file of the run, and what is older in parts beside it (`agent.rotation`): one row of offsets.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from k8snetlab.kubelet.rotation import begin_of, older_parts

BLOCK = 1 << 16


async def read(
    path: Path, follow: bool = False, last: int = -1, ended: Callable[[], bool] = lambda: False
) -> AsyncIterator[bytes]:
    """All that is kept, or the `last` lines (all where that is negative); with `follow` until `ended`. Nothing where
    there is no such file."""
    try:
        stream = Stream(path)
    except FileNotFoundError:
        return
    with stream:
        at = stream.begin() if last < 0 else _start_of_last(stream, last)
        while True:
            over = not follow or ended()
            while at < stream.end():
                at = stream.begin(at)
                if data := stream.read(at, BLOCK):
                    at += len(data)
                    yield data
                else:  # rotated away in this moment: what is kept now begins further on
                    await asyncio.sleep(0)
            if over:
                return
            await asyncio.sleep(0.1)


def runs(directory: Path) -> list[int]:
    """The runs of a container whose logs are kept, oldest first: their numbers are those of its restarts."""
    return sorted(int(file.stem) for file in directory.glob("*.log") if file.stem.isdigit())


class Stream:
    """One run's output by offsets, wherever it lies by now. Raises FileNotFoundError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def end(self) -> int:
        return os.fstat(self._fd).st_size

    def begin(self, at: int = 0) -> int:
        """The first offset from `at` on whose byte is kept."""
        kept = begin_of(self._fd, max(at, self.end()), at)
        if kept <= at:
            return at
        starts = [kept]
        for part, end in self._parts():
            with contextlib.suppress(FileNotFoundError):
                starts += [max(at, end - part.stat().st_size)] if end > at else []
        return min(starts)

    def read(self, at: int, most: int) -> bytes:
        """Some bytes from `at` on; b"" at the end, and where the first is no longer kept."""
        data = os.pread(self._fd, most, at)
        if begin_of(self._fd, max(at, self.end()), at) <= at:  # asked afterwards: a hole reads as zeros
            return data
        for part, end in self._parts():
            if end > at:
                with contextlib.suppress(FileNotFoundError), part.open("rb") as file:
                    begin = end - os.fstat(file.fileno()).st_size
                    if at >= begin:
                        file.seek(at - begin)
                        return file.read(most)
                return b""
        return b""

    def _parts(self) -> list[tuple[Path, int]]:
        """The older parts with the offsets of their ends, oldest first."""
        return [(part, int(part.suffix[1:])) for part in older_parts(self._path)]


def _start_of_last(stream: Stream, lines: int) -> int:
    """Where the last so many lines begin; the stream is read from its end, no further than it takes."""
    end = at = stream.end()
    first = stream.begin()
    if not lines:
        return end
    while at > first:
        begin = max(first, at - BLOCK)
        block = b""
        while len(block) < at - begin and (more := stream.read(begin + len(block), at - begin - len(block))):
            block += more
        # The line end that ends the stream begins no line.
        stop = len(block) - 1 if at == end else len(block)
        while (newline := block.rfind(b"\n", 0, stop)) >= 0:
            lines -= 1
            if not lines:
                return begin + newline + 1
            stop = newline
        at = begin
    return first
