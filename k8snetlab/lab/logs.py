"""What a container wrote: its last lines, and how it goes on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

BLOCK = 1 << 16


async def read(path: Path, follow: bool = False, last: int = -1) -> AsyncIterator[bytes]:
    """The file, or its `last` lines (all where that is negative); with `follow` for ever. Nothing where it is none."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield b""
        return
    with file:
        if last >= 0:
            file.seek(_start_of_last(file, last))
        while True:
            while data := file.read(BLOCK):
                yield data
            if not follow:
                return
            await asyncio.sleep(0.1)


def _start_of_last(file: BinaryIO, lines: int) -> int:
    """Where the last so many lines begin; the file is read from its end, no further than it takes."""
    end = at = file.seek(0, os.SEEK_END)
    if not lines:
        return end
    while at:
        begin = max(0, at - BLOCK)
        file.seek(begin)
        block = file.read(at - begin)
        # The line end that ends the file begins no line.
        stop = len(block) - 1 if at == end else len(block)
        while (newline := block.rfind(b"\n", 0, stop)) >= 0:
            lines -= 1
            if not lines:
                return begin + newline + 1
            stop = newline
        at = begin
    return 0
