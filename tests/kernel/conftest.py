"""Kernel tests run in real namespaces with names of their own, and leave nothing behind."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from k8snetlab.kernel import netns, processes
from k8snetlab.testing import forkserver, madeup

PREFIX = f"kt{os.getpid()}{secrets.token_hex(2)}"
_numbers = itertools.count(1)


def pytest_configure() -> None:
    """What a shell starts in the background ignores SIGINT, and so would all that the tests press Ctrl-C at."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def name() -> Iterator[Callable[[str], str]]:
    """Makes up names of namespaces that are unlike any other; whatever is made under them is deleted afterwards."""
    given: list[str] = []

    def make(part: str = "ns") -> str:
        given.append(f"{PREFIX}.{next(_numbers)}.{part}")
        return given[-1]

    yield make
    for one in given:
        if netns.exists(one):
            processes.terminate(processes.pids_in(one), 0.2)
        netns.delete(one)


@pytest.fixture
def namespace(name: Callable[[str], str]) -> Callable[[str], str]:
    """Makes an empty namespace and returns its name."""

    def make(part: str = "ns") -> str:
        made = name(part)
        netns.create(made)
        return made

    return make


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fails the session when a namespace, device, mount or process of these tests is still there at its end, or when
    what the machine's own devices carry is another than before: a pod's address meant for a namespace, say."""
    if os.geteuid() != 0:
        yield
        return
    netns.make_directory()
    own = str(tmp_path_factory.getbasetemp())
    before = _links(), _mounts(), _children() | _with_environment(own)
    carried = _carried(before[0])
    yield
    forkserver.close()

    def things() -> dict[str, set[str]]:
        now = _carried(before[0])
        return {
            "on devices of the machine": now - carried,
            "taken from devices of the machine": carried - now,
            "namespaces": {one for one in netns.names() if one.startswith(PREFIX)} | madeup.namespaces(),
            "devices of the machine": _links() - before[0],
            "mounts": {mount for mount in _mounts() - before[1] if PREFIX in mount},
            "processes": (_children() | _with_environment(own)) - before[2],
        }

    # Devices of another worker (pytest-xdist) go with its test, and what has ended is a process until its parent looks.
    left, deadline = things(), time.monotonic() + 60
    while any(left.values()) and time.monotonic() < deadline:
        time.sleep(0.2)
        now = things()
        left = {what: found & now[what] for what, found in left.items()}
    assert not any(left.values()), f"left behind: { {what: found for what, found in left.items() if found} }"


def _links() -> set[str]:
    return {entry.name for entry in Path("/sys/class/net").iterdir()}


def _carried(links: set[str]) -> set[str]:
    """The addresses of these devices of the machine and the routes over them, as `ip` tells them."""
    asked = ("address", "route")
    told = [subprocess.run(["ip", "-o", what], capture_output=True, text=True, check=True).stdout for what in asked]
    found = [re.sub(r"^\d+: |valid_lft.*|expires.*", "", line).strip() for text in told for line in text.splitlines()]
    return {line for line in found if links.intersection(line.split())}


def _mounts() -> set[str]:
    return {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}


def _with_environment(text: str) -> set[str]:
    """Processes, whosever children they are by now, that were started with a path below the tests' own directory."""
    found: set[str] = set()
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if place.name != str(os.getpid()) and text.encode() in (place / "environ").read_bytes():
                found |= _told(place)
    return found


def _children() -> set[str]:
    """This process's descendants that are still alive, by pid and command."""
    found: set[str] = set()
    pending = [str(os.getpid())]
    while pending:
        for task in Path("/proc", pending.pop(), "task").glob("*/children"):
            with contextlib.suppress(OSError):
                for child in task.read_text().split():
                    found |= _told(Path("/proc", child))
                    pending.append(child)
    return found


def _told(place: Path) -> set[str]:
    """A process by pid and command; not multiprocessing's tracker, which is Python's own and ends with its parent."""
    command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return set() if "multiprocessing.resource_tracker" in command else {f"{place.name} {command}"}
