"""What is looked for on the machine, while others come and go."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

import pytest

from k8snetlab.kernel import inventory


def test_groups_of_others_that_go_meanwhile_stop_no_look() -> None:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    group = next((Path(at) / f"look{os.getpid()}" for _, at, kind, *_ in mounts if kind in ("cgroup", "cgroup2")), None)
    if group is None or not os.access(group.parent, os.W_OK):
        pytest.skip("no control groups can be made here")
    done = threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            with contextlib.suppress(OSError):
                group.mkdir()
                group.rmdir()

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        for _ in range(100):
            assert not list(inventory.cgroups("nobody-has-this"))
    finally:
        done.set()
        other.join()
        with contextlib.suppress(OSError):
            group.rmdir()
