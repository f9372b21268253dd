"""Where control groups can be made."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

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
