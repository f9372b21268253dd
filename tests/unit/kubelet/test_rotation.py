"""A log that grows without end is looked at once at a time: threads that wait for each other are none for others."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from k8snetlab.kubelet import rotation
from k8snetlab.kubelet.rotation import LogKeeper


async def flooded(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many were at it whenever one began to look at the log, which grows meanwhile."""
    now, seen = 0, list[int]()

    def rotate(kept: rotation._Kept) -> None:
        nonlocal now
        now += 1
        seen.append(now)
        time.sleep(0.03)
        now -= 1

    monkeypatch.setattr(rotation._Kept, "rotate", rotate)
    keeper = LogKeeper()
    with path.open("ab", buffering=0) as file:
        file.write(b"x" * 4096)
        keeper.keep(path, 1024, 2)
        while len(seen) < 30:
            file.write(b"x" * 4096)
            await asyncio.sleep(0.001)
    keeper.close()
    return seen


def test_a_flood_is_followed_by_one_look_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(asyncio.run(flooded(tmp_path / "0.log", monkeypatch))) == {1}
