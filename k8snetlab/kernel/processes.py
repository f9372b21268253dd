"""The processes inside a namespace, and ending them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from k8snetlab.kernel import netns


def pids_in(names: str | Iterable[str]) -> list[int]:
    """The processes whose network namespace is one of these, in order. Raises NotFoundError when a name has none."""
    wanted = {netns.inode(name) for name in ([names] if isinstance(names, str) else names)}
    return sorted(pid for pid in _all() if _inode(pid) in wanted) if wanted else []


def with_environment(names: str | Iterable[str], setting: str, below: bool = False) -> list[int]:
    """Of the processes in these network namespaces, those that were started with the setting "NAME=value".

    `below`: the value is a directory, and anything below it will do.
    """
    wanted = setting.encode()
    found = []
    for pid in pids_in(names):
        with contextlib.suppress(OSError):
            settings = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if wanted in settings or (below and any(one.startswith(wanted + b"/") for one in settings)):
                found.append(pid)
    return found


def terminate(pids: Iterable[int], grace: float) -> list[int]:
    """SIGTERM, and SIGKILL to those that are left after `grace` seconds; returns those that had to be killed.

    Each process is held by a pidfd meanwhile, so that a number which is given away again is not hit.
    """
    held: dict[int, int] = {}
    try:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                held[pid] = os.pidfd_open(pid)
        for fd in held.values():
            _signal(fd, signal.SIGTERM)
        stubborn = _await_end(held, grace)
        for pid in stubborn:
            _signal(held[pid], signal.SIGKILL)
        _await_end({pid: held[pid] for pid in stubborn}, 5.0)
        return stubborn
    finally:
        for fd in held.values():
            os.close(fd)


def _all() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _inode(pid: int) -> int:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    return 0


def _signal(fd: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(fd, number)


def _await_end(held: dict[int, int], seconds: float) -> list[int]:
    """Those still running when the time is over; a pidfd becomes readable when its process ends."""
    waiting = {fd: pid for pid, fd in held.items()}
    poll = select.poll()
    for fd in waiting:
        poll.register(fd, select.POLLIN)
    deadline = time.monotonic() + seconds
    while waiting and (left := deadline - time.monotonic()) > 0:
        for fd, _ in poll.poll(left * 1000):
            poll.unregister(fd)
            waiting.pop(fd)
    return sorted(waiting.values())
