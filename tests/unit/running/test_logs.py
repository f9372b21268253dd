"""The last lines of a file, read from its end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from k8snetlab.running import logs


def told(path: Path, last: int) -> bytes:
    async def everything() -> bytes:
        return b"".join([data async for data in logs.read(path, last=last)])

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
