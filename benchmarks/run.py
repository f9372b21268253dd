"""Runs benchmarks one after another: one that cannot run or fails says why, and the others go on."""

from __future__ import annotations

import importlib
import signal
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from types import FrameType, ModuleType
from typing import Any

import msgspec
from rich.console import Console

from benchmarks.report import Outcome, figure
from benchmarks.rows import Row, value

NAMES = (
    "small",
    "verbs",
    "pods",
    "thousand",
    "idle",
    "probes",
    "services",
    "sync",
    "controllers",
    "alike",
    "generate",
    "misses",
    "join",
    "routes",
    "throughput",
    "policies",
    "netpol",
    "names",
    "ingress",
    "balancers",
    "api",
)
"""The modules of this package, in the order in which they run."""


OFTEN = 10.0
"""Seconds between two lines that say how far it is, where nobody looks at a terminal."""


LATE = 600.0
"""Seconds after which what is left is measured once each, so that the whole ends within a quarter of an hour."""


class CannotRunError(Exception):
    """This machine lacks what a benchmark needs; its message says what, and how to get it."""


class FailedError(Exception):
    """What is measured did not do what it is measured at."""


class Scale(msgspec.Struct, frozen=True):
    """How much is measured."""

    pods: int = 1000
    nodes: int = 100
    """Those that another one joins."""
    services: int = 5000
    rounds: int = 3
    large: bool = False
    """Whether to run what takes minutes too."""


SMALL = Scale(pods=40, nodes=5, services=100, rounds=2)
"""For trying the benchmarks themselves; its figures say nothing."""
LARGE = Scale(large=True)


class Run:
    """What a benchmark is given: how much to measure, and whom to tell how far it is."""

    def __init__(self, scale: Scale, console: Console) -> None:
        self.scale = scale
        self._console = console
        self._status: Any = None
        self._began = time.monotonic()
        self._name = ""
        self._said = -OFTEN

    def say(self, what: str) -> None:
        """What is going on now; where that is no terminal, every few seconds."""
        took = time.monotonic() - self._began
        if self._status is not None:
            self._status.update(self._text(what))
        elif took - self._said >= OFTEN:
            self._said = took
            self._console.print(self._text(what), highlight=False, markup=False, soft_wrap=True)

    def hurry(self) -> None:
        """One round each from now on, where it is late."""
        if self.scale.rounds > 1 and not self.scale.large and time.monotonic() - self._began > LATE:
            self.scale = msgspec.structs.replace(self.scale, rounds=1)
            self.begins(f"more than {LATE / 60:.0f} minutes have passed: what is left is measured once each")

    def _text(self, what: str) -> str:
        return f"{time.monotonic() - self._began:5.0f} s  {self._name}: {what}"

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """While the benchmark of that name runs."""
        self._name = name
        if not self._console.is_terminal:
            yield
            return
        with self._console.status(name) as self._status:
            yield
        self._status = None

    def begins(self, what: str) -> None:
        """A benchmark begins."""
        self._console.print(self._text(what), highlight=False, markup=False, soft_wrap=True)

    def found(self, row: Row) -> None:
        """A row is there."""
        text = self._text(f"{row.what}: {figure(value(row, ''), row.unit)}")
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def run(names: Sequence[str], scale: Scale, console: Console) -> Iterator[Outcome]:
    """Runs these benchmarks; what each came to, as it ends. Ends early, with what there is, where it is interrupted."""
    running = Run(scale, console)
    for name in names:
        outcome = None
        running.hurry()
        with running.of(name):
            outcome = _outcome(name, importlib.import_module(f"benchmarks.{name}"), running)
        for trouble in (outcome.cannot and f"cannot run: {outcome.cannot}", outcome.failed):
            if trouble:
                console.print(f"{name}: {trouble}", highlight=False, markup=False)
        yield outcome
        if outcome.failed == INTERRUPTED:
            return


INTERRUPTED = "interrupted"


def _outcome(name: str, module: ModuleType, running: Run) -> Outcome:
    began = time.monotonic()
    rows: list[Row] = []
    cannot = failed = ""
    running.begins((module.__doc__ or name).splitlines()[0])
    try:
        with closing(module.rows(running)) as found:
            for row in found:
                rows.append(row)
                running.found(row)
    except CannotRunError as error:
        cannot = str(error)
    except FailedError as error:
        failed = str(error)
    except KeyboardInterrupt:
        failed = INTERRUPTED
    except Exception as error:  # a fault of one benchmark's is none of the others'
        at = traceback.extract_tb(error.__traceback__)[-1]
        failed = f"{type(error).__name__}: {error} ({at.filename.rpartition('/')[2]}:{at.lineno})"
    return Outcome(name, tuple(rows), cannot, failed, time.monotonic() - began)


@contextmanager
def interruptible(console: Console) -> Iterator[None]:
    """Ctrl-C and SIGTERM raise KeyboardInterrupt once; what was made is then taken down without being interrupted."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        for held_one in held:
            signal.signal(held_one, signal.SIG_IGN)
        console.print("interrupted: taking down what was made …", highlight=False)
        raise KeyboardInterrupt

    held: dict[int, Any] = {}
    for each in (signal.SIGINT, signal.SIGTERM):
        held[each] = signal.signal(each, interrupt)
    try:
        yield
    finally:
        for number, before in held.items():
            signal.signal(number, before)
