"""Where control groups can be made, and what is in them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from k8snetlab.kernel import cgroups

AT_ONCE = 8


def test_threads_that_ask_at_once_are_told_the_same() -> None:
    """The first pods of a lab are bounded each in a thread."""
    barrier = Barrier(AT_ONCE)

    def ask(_: int) -> object:
        barrier.wait()
        return cgroups.hierarchies(), cgroups.controller("memory"), cgroups.controller("pids")

    alone = cgroups.hierarchies(), cgroups.controller("memory"), cgroups.controller("pids")
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for _ in range(50):
            assert {str(told) for told in threads.map(ask, range(AT_ONCE))} == {str(alone)}


def test_what_is_in_a_group_is_told_also_where_one_below_it_goes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each container of a pod takes its own away, in a thread of its own."""
    if (top := cgroups.hierarchy()) is None:
        pytest.skip("this machine lets nobody make control groups")
    group, look = top / f"k8snetlab-test-{os.getpid()}", os.scandir
    going, staying = group / "going", group / "staying"

    def late(place: str | Path) -> Iterator[os.DirEntry[str]]:
        if Path(place) == going:
            going.rmdir()
        return look(place)

    for one in (going, staying):
        one.mkdir(parents=True)
    process = subprocess.Popen(["sleep", "1000"])
    try:
        (staying / "cgroup.procs").write_text(str(process.pid))
        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", late)
            found = cgroups.members(group)
    finally:
        process.kill()
        process.wait()
        assert cgroups.end(group)
    assert found == [process.pid]
