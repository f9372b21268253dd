"""Commands of a lesson or a comparison, run as they stand: argument lists, and scripts in a shell of their own, with
nothing put into their text. Of the lab they are told in their environment."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from k8snetlab.errors import K8sNetLabError

PATIENCE = 120.0
"""Seconds that a command or script may take."""
LONGEST = 4000
"""Characters of what one printed that are told."""


class Ran(NamedTuple):
    """A command that ended."""

    code: int
    output: str
    """What it printed, standard output and error as they came."""
    errors: str = ""
    """Standard error, where that was to be kept apart."""


def command(words: Sequence[str], lab: str, *, apart: bool = False) -> Ran:
    """Runs an argument list; `k8snetlab` is this one. Code 127 where there is no such program, 124 where it takes too
    long. `apart`: standard error is none of the output."""
    own = [sys.executable, "-m", "k8snetlab"] if words[0] == "k8snetlab" else [words[0]]
    return _ran([*own, *words[1:]], lab, apart)


def script(text: str, lab: str) -> None:
    """Runs it with `sh -eu`. Raises ScriptError with what it said."""
    ran = _ran(["sh", "-euc", text], lab)
    if ran.code:
        said = ran.output.strip()[-LONGEST:]
        hint = "`k8snetlab lesson reset` begins the step anew, whatever was done to it"
        raise ScriptError(f"a command of the lesson failed (exit {ran.code}): {said}", hint)


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """SIGTERM and SIGHUP, unless they are ignored (nohup), end the block as Ctrl-C does, by an exception: what was
    begun is taken away. For the main thread."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    heard = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """No such signal, and no Ctrl-C, breaks off the block: it takes away what was made. For the main thread."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class ScriptError(K8sNetLabError):
    """A script of a lesson did not do what it is there for."""


def _ran(words: list[str], lab: str, apart: bool = False) -> Ran:
    beside = str(Path(sys.executable).parent)  # where the command is installed, whatever PATH says
    environment = {**os.environ, "K8SNETLAB_LAB": lab, "PATH": f"{beside}:{os.environ.get('PATH', os.defpath)}"}
    try:
        process = subprocess.Popen(
            words,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if apart else subprocess.STDOUT,
            start_new_session=True,  # what it began ends with it, where it takes too long
            encoding="utf-8",
            errors="replace",
        )
    except (OSError, ValueError) as error:  # ValueError: a NUL in it
        return Ran(127, f"{words[0]}: {error}")
    try:
        output, errors = process.communicate(timeout=PATIENCE)
    except BaseException as late:
        with contextlib.suppress(ProcessLookupError):  # it had just ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if not isinstance(late, subprocess.TimeoutExpired):
            raise
        return Ran(124, f"not done within {PATIENCE:g} s: {' '.join(words)[:200]}")
    return Ran(process.returncode, output, errors or "")
