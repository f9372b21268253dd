"""When a container wrote what is in its log: `<n>.times` beside `<n>.log`.

A command writes straight into its file, where no line has a time. Whoever looks at the file after a write (`rotation`)
notes how long it was, and when it was last written to: what begins before that end was written by then. What is written
within a look's delay, some tens of milliseconds, has one time.
"""

from __future__ import annotations

import contextlib
import struct
from bisect import bisect_left, bisect_right
from pathlib import Path

MOST = 1 << 20
"""Bytes of an index; beyond them the older half keeps every second time."""
_ENTRY = struct.Struct(">QQ")


def times_file(log: Path) -> Path:
    return log.with_suffix(".times")


def note(log: Path, size: int, when: int) -> None:
    """At `when` (ns since 1970) the log had `size` bytes. Raises OSError."""
    file = times_file(log)
    with file.open("ab") as index:
        index.write(_ENTRY.pack(size, when))
        if index.tell() < MOST:
            return
    entries = list(_ENTRY.iter_unpack(file.read_bytes()))
    half = len(entries) // 2
    kept = entries[1:half:2] + entries[half:]
    draft = file.with_suffix(".times.new")
    draft.write_bytes(b"".join(_ENTRY.pack(*entry) for entry in kept))
    draft.replace(file)


class Times:
    """The index as it is read, also while it grows."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._sizes: list[int] = []
        self._when: list[int] = []
        self._read()

    def of(self, offset: int) -> int:
        """When the byte at `offset` was written (ns since 1970)."""
        if not self._sizes or offset >= self._sizes[-1]:
            self._read()
        number = bisect_right(self._sizes, offset)
        if number < len(self._when):
            return self._when[number]
        with contextlib.suppress(OSError):  # nobody has looked yet
            return self._log.stat().st_mtime_ns
        return self._when[-1] if self._when else 0

    def first_since(self, when: int) -> int:
        """The offset before which all was written before `when`."""
        number = bisect_left(self._when, when)
        if number == len(self._when):
            with contextlib.suppress(OSError):
                found = self._log.stat()
                if found.st_mtime_ns < when:
                    return found.st_size
        return self._sizes[number - 1] if number else 0

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            data = times_file(self._log).read_bytes()
            whole = len(data) - len(data) % _ENTRY.size
            entries = list(_ENTRY.iter_unpack(data[:whole]))
            self._sizes, self._when = [size for size, _ in entries], [when for _, when in entries]


def noted(log: Path, before: int) -> int:
    """Notes what was written since the log had `before` bytes; how many it has. Raises OSError."""
    found = log.stat()
    if found.st_size > before:
        note(log, found.st_size, found.st_mtime_ns)
    return found.st_size
