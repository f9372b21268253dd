"""The last lines of a file, read from its end."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from k8snetlab.kubelet import times
from k8snetlab.running import logs


def told(path: Path, last: int) -> bytes:
    async def everything() -> bytes:
        return b"".join([data async for data in logs.read(path, wanted=logs.Wanted(last))])

    return asyncio.run(everything())


@pytest.mark.parametrize("block", [1, 2, 7, 1 << 16])
@pytest.mark.parametrize(
    "text", ["", "\n", "one", "one\n", "one\ntwo", "one\n\n\ntwo\nthree\n", "\n\n", "x" * 40 + "\ny"]
)
def test_the_last_lines_are_those_that_tail_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, block: int
) -> None:
    monkeypatch.setattr(logs, "BLOCK", block)
    file = tmp_path / "c.log"
    file.write_text(text)
    lines = text.splitlines(keepends=True)
    for last in range(len(lines) + 2):
        assert told(file, last).decode() == "".join(lines[len(lines) - last :] if last <= len(lines) else lines)
    assert told(file, -1).decode() == text


def test_no_file_is_no_line(tmp_path: Path) -> None:
    assert told(tmp_path / "none", 3) == b""


SECOND = 10**9


def noted(file: Path, *pieces: tuple[int, str]) -> None:
    """Writes each piece at its second, and notes that."""
    size = 0
    for second, text in pieces:
        with file.open("a") as log:
            log.write(text)
        os.utime(file, ns=(0, second * SECOND))
        size = times.noted(file, size)


def read(file: Path, *, since: int = 0, last: int = -1, stamped: bool = False) -> str:
    async def everything() -> bytes:
        wanted = logs.Wanted(last, since * SECOND, stamped)
        return b"".join([data async for data in logs.read(file, wanted=wanted)])

    return asyncio.run(everything()).decode()


def test_lines_have_the_time_at_which_their_begin_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "0.log"
    noted(file, (100, "one\ntwo\nthr"), (160, "ee\n"), (161, ""), (3700, "four\n"))
    whole = (
        "1970-01-01T00:01:40.000000000Z one\n1970-01-01T00:01:40.000000000Z two\n"
        "1970-01-01T00:01:40.000000000Z three\n1970-01-01T01:01:40.000000000Z four\n"
    )
    for block in (1, 2, 5, 1 << 16):
        monkeypatch.setattr(logs, "BLOCK", block)
        assert read(file, stamped=True) == whole
    assert read(file, stamped=True, last=1) == whole.splitlines(keepends=True)[-1]


def test_what_was_written_since_begins_with_a_whole_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "0.log"
    noted(file, (100, "one\ntwo\nthr"), (160, "ee\nfour\nfi"), (200, "ve\nsix\n"))
    for block in (1, 3, 1 << 16):
        monkeypatch.setattr(logs, "BLOCK", block)
        assert read(file, since=100) == read(file) == "one\ntwo\nthree\nfour\nfive\nsix\n"
        assert read(file, since=101) == read(file, since=160) == "four\nfive\nsix\n"
        assert read(file, since=161) == "six\n"
        assert read(file, since=101, last=1) == read(file, since=161, last=5) == "six\n"
        assert read(file, since=201) == ""


def test_what_nobody_has_looked_at_yet_has_the_files_time(tmp_path: Path) -> None:
    file = tmp_path / "0.log"
    noted(file, (100, "one\n"))
    with file.open("a") as log:
        log.write("two\n")
    os.utime(file, ns=(0, 400 * SECOND))
    assert read(file, stamped=True).endswith("00:06:40.000000000Z two\n")
    assert read(file, since=300) == "two\n" and read(file, since=401) == ""


def test_an_index_stays_small_and_keeps_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "MOST", 1600)
    file = tmp_path / "0.log"
    for number in range(1, 5000):
        times.note(file, number * 10, number * SECOND)
    assert times.times_file(file).stat().st_size <= 1600
    found = times.Times(file)
    ones = [found.of(offset) // SECOND for offset in range(0, 49_990, 10)]
    assert ones == sorted(ones) and all(number <= one for number, one in enumerate(ones, 1))
    assert ones[-20:] == list(range(4980, 5000))


def test_an_index_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    file = tmp_path / "0.log"
    noted(file, (100, "one\n"), (200, "two\n"))
    with times.times_file(file).open("r+b") as index:
        index.truncate(20)
    os.utime(file, ns=(0, 300 * SECOND))
    assert [line[:20] for line in read(file, stamped=True).splitlines()] == [
        "1970-01-01T00:01:40.",
        "1970-01-01T00:05:00.",
    ]
