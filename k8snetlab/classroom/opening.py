"""Opening a class: seats and labs for all, a few at a time; and closing it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import msgspec

from k8snetlab.classroom import roll, seats
from k8snetlab.classroom.work import KEPT
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import modules, userns
from k8snetlab.state import labs
from k8snetlab.state.ledger import Ledger
from k8snetlab.state.paths import LabPaths

_LOOK = 0.05
"""Seconds between two looks whether one of them has ended."""
PATIENCE = 900.0
"""Seconds that one lab has: whatever a student has left in the seat keeps nobody waiting for ever."""


class Opened(msgspec.Struct, frozen=True):
    """One student's lab."""

    name: str
    """The student."""
    ok: bool
    """Whether it stands."""
    new: bool
    """Whether it was built now."""
    said: str
    """What hindered it, as `up` or `lesson start` says it; ""."""
    seconds: float
    """How long it took."""


class ClassOpened(msgspec.Struct, frozen=True):
    """What became of a class."""

    students: tuple[Opened, ...]
    """In the order of the class."""
    unlimited: tuple[str, ...]
    """What this machine cannot bound: memory, tasks."""
    seconds: float
    """For all of it."""


def load(held: roll.Roll) -> roll.Roll:
    """What no seat can do itself: br_netfilter. The class with a note of it, on the disk beforehand; also where a lab
    of this machine has loaded it, which may end before the class does."""
    noted = msgspec.structs.replace(held, loaded=True)
    modules.load_bridge_filter(lambda: roll.write(noted))
    if any(Ledger(LabPaths(lab).ledger).loaded_bridge_filter for lab in labs.running()):
        roll.write(noted)
    return roll.read()


def open_(names: Sequence[str]) -> Iterator[Opened]:
    """Builds what is missing, and yields each as it stands or has failed."""
    waiting, running = list(names), dict[str, tuple[subprocess.Popen[bytes], float]]()
    try:
        while waiting or running:
            while waiting and len(running) < len(os.sched_getaffinity(0)):
                name = waiting.pop(0)
                running[name] = _begun(name)
            time.sleep(_LOOK)
            for name, (process, began) in [*running.items()]:
                if process.poll() is not None:
                    del running[name]
                    yield _opened(name, process, time.monotonic() - began)
                elif time.monotonic() - began > PATIENCE:
                    process.kill()
    finally:
        for process, _ in running.values():
            process.terminate()
            process.communicate()


def _begun(name: str) -> tuple[subprocess.Popen[bytes], float]:
    """What it says fits into the pipe (`work.SAID`)."""
    words = [sys.executable, "-m", "k8snetlab.classroom.work", name]
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        close_fds=False,  # it keeps the class's turn
        start_new_session=True,
    )
    return process, time.monotonic()


def _opened(name: str, process: subprocess.Popen[bytes], seconds: float) -> Opened:
    said = process.communicate()[0].decode(errors="replace").strip()
    if process.returncode == -signal.SIGKILL:
        said = f"it was ended after {seconds:.0f} s; `k8snetlab class reset {name}` makes a new seat"
    ok, kept = process.returncode == 0, said == KEPT
    return Opened(name, ok, ok and not kept, "" if kept else said, round(seconds, 1))


def close(held: roll.Roll) -> Iterator[str]:
    """Ends every seat, also one that the class's file does not know, and yields its name. What cannot be ended is
    raised last."""
    problem: K8sNetLabError | None = None
    for seat in seats.all_of(held):
        try:
            seats.end(seat)
        except K8sNetLabError as error:
            problem = error
        yield seat.name
    if problem:
        raise problem
    others = labs.running() or userns.first_processes()  # of another class
    if held.loaded and not others and modules.unload_bridge_filter():
        roll.write(msgspec.structs.replace(held, loaded=False))
