"""What requests to an nginx take that passes them on, measured in two ways.

`seconds` are those that whoever asks waits, with all programs on all cores. On two cores most of that is one program
that wakes another, by where the kernel puts them: of one and the same way a request takes 60 to 160 us, for as long as
a connection lasts. Hence many short ones, and the median of neighbours' ratios: of 300 it is good to 0.02.

`seconds_of_a_core` are those of processor time, of who asks, of nginx and of who stands behind it, all on one core:
what is done for a request, wherever. Instances of one configuration are within 0.02, also on a busy machine.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.run import FailedError
from benchmarks.tcp import in_turns
from k8snetlab.kernel import netns, processes

REQUESTS, AT_ONCE = 200, 50
"""Of one connection, and of those how many are under way. nginx ends a connection after 1,000."""


class Door(NamedTuple):
    """An nginx at port 80 of an address, asked for `host` from a namespace. `pids`: of its worker, and of whose answers
    it passes on."""

    client: str
    address: str
    host: str
    pids: tuple[int, ...]


def worker(namespace: str) -> int:
    """The process of the nginx in a namespace that answers."""
    for pid in processes.pids_in(namespace):
        if Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ") == b"nginx: worker process":
            return pid
    raise FailedError(f"no nginx in {namespace}")


def seconds(doors: Sequence[Door], times: int) -> list[list[float]]:
    """Of each: of REQUESTS."""
    return in_turns([partial(_took, door, time.perf_counter) for door in doors], times)


def seconds_of_a_core(doors: Sequence[Door], times: int) -> list[list[float]]:
    """Of each: of REQUESTS, in processor time."""
    with _on_one_core({pid for door in doors for pid in door.pids}):
        return in_turns([partial(_took, door, partial(_worked, door)) for door in doors], times)


def _worked(door: Door) -> float:
    told = (Path(f"/proc/{pid}/schedstat").read_text().split()[0] for pid in door.pids)
    return time.thread_time() + sum(map(int, told)) / 1e9


@contextmanager
def _on_one_core(pids: set[int]) -> Iterator[None]:
    with ExitStack() as stack:
        core = {max(os.sched_getaffinity(0))}
        for pid in (0, *pids):
            stack.callback(os.sched_setaffinity, pid, os.sched_getaffinity(pid))
            os.sched_setaffinity(pid, core)
        yield


def _took(door: Door, clock: Callable[[], float]) -> float:
    request = f"GET / HTTP/1.1\r\nHost: {door.host}\r\n\r\n".encode() * AT_ONCE
    with netns.inside(door.client):
        line = socket.create_connection((door.address, 80), timeout=60)
    with line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = clock()
        for _ in range(REQUESTS // AT_ONCE):
            line.sendall(request)
            _read(line)
        return clock() - began


def _read(line: socket.socket) -> None:
    """AT_ONCE answers."""
    rest = b""
    while rest.count(b"HTTP/1.1 200") < AT_ONCE or not rest.endswith((b"there", b"other")):
        piece = line.recv(1 << 16)
        rest += piece
        if not piece or b"HTTP/1.1 5" in rest or b"HTTP/1.1 4" in rest:
            raise FailedError(f"not {AT_ONCE} answers: {rest[-200:].decode(errors='replace')}")
