"""What a container wrote: its last lines, and how it goes on.

The stream is in the file of the run, and what is older in parts beside it (`agent.rotation`): one row of offsets.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from k8snetlab.kubelet.rotation import begin_of, older_parts
from k8snetlab.kubelet.times import Times

BLOCK = 1 << 16


class Wanted(msgspec.Struct, frozen=True):
    """What of a log: all that is kept, or the `last` lines (negative: all), written `since` (ns since 1970); each with
    its time before it where it is to be `stamped`."""

    last: int = -1
    since: int = 0
    stamped: bool = False


async def read(
    path: Path, follow: bool = False, wanted: Wanted | None = None, ended: Callable[[], bool] = lambda: False
) -> AsyncGenerator[bytes, None]:
    """With `follow` until `ended`. Nothing where there is no such file."""
    wanted = wanted or Wanted()
    try:
        stream, times = Stream(path), Times(path)
    except FileNotFoundError:
        return
    with stream:
        at = stream.begin() if wanted.last < 0 else _start_of_last(stream, wanted.last)
        if wanted.since:
            at = max(at, _start_of_line(stream, times.first_since(wanted.since)))
        stamps = Stamps(times) if wanted.stamped else None
        while True:
            over = not follow or ended()
            while at < stream.end():
                at = stream.begin(at)
                if data := stream.read(at, BLOCK):
                    yield stamps.put(at, data) if stamps else data
                    at += len(data)
                else:  # rotated away in this moment: what is kept now begins further on
                    await asyncio.sleep(0)
            if over:
                return
            await asyncio.sleep(0.1)


class Stamps:
    """Puts its time before each line of a stream that comes in pieces."""

    def __init__(self, times: Times) -> None:
        self._times, self._begins = times, True

    def put(self, at: int, data: bytes) -> bytes:
        """`data` is at offset `at`."""
        whole, begin = [], 0
        while begin < len(data):
            end = data.find(b"\n", begin) + 1 or len(data)
            if self._begins:
                whole.append(stamp(self._times.of(at + begin)))
            whole.append(data[begin:end])
            self._begins = data[end - 1 : end] == b"\n"
            begin = end
        return b"".join(whole)


def stamp(when: int) -> bytes:
    """A time (ns since 1970) as before a line: RFC 3339, with nine digits, and a space."""
    seconds, rest = divmod(when, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z ".encode()


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


def _start_of_line(stream: Stream, at: int) -> int:
    """Where the first line begins that begins at `at` or behind it."""
    first = stream.begin()
    if at <= first:
        return first
    at -= 1
    while at < stream.end():
        block = stream.read(at, BLOCK)
        if (newline := block.find(b"\n")) >= 0:
            return at + newline + 1
        at = at + len(block) if block else stream.begin(at + 1)
    return at
