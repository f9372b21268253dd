"""A short command beside a program, in its namespace: whether a configuration is good, whether it serves."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from k8snetlab.addons.program import CONF, Place, Program
from k8snetlab.kernel import launch
from k8snetlab.kernel.patience import MOST, patience

PATIENCE = 10.0
"""Seconds that it gets from its beginning on; more where processes queue for the cores, or begin slowly."""
BEGINNING = 60.0
"""Seconds in which it must have begun."""
USUAL = 0.2
"""Seconds in which one begins in a namespace, ten times what it takes on a machine with nothing else to do; 5 where
QEMU emulates the processor."""
_DATE = re.compile(r"\d{4}[-/]\d\d[-/]\d\d[ T]\d\d:\d\d:\d\d\S*\s+")
_PLACE = re.compile(rf"\b{CONF}/(?P<file>[-._A-Za-z0-9]+):(?P<line>\d+)(:\d+)?")
"""Where in a file something is wrong, as BIRD says it."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Look(msgspec.Struct, frozen=True):
    """How it ended: `problem` is the last line that it printed where it did not end with 0 in time, "" where it did.
    `slower`: how many times longer than usual its beginning took, as an emulated processor makes it."""

    problem: str
    slower: float = 1.0


def failure(
    place: Place, directory: Path, argv: Sequence[str], seconds: float = PATIENCE, *, plain: bool = False
) -> str:
    """The problem alone. Raises NotFoundError."""
    return look(place, directory, argv, seconds, plain=plain).problem


def look(place: Place, directory: Path, argv: Sequence[str], seconds: float = PATIENCE, *, plain: bool = False) -> Look:
    """A `plain` one enters no namespace. Raises NotFoundError.

    What comes before the command itself (an interpreter, its modules, namespaces) is not counted as the command's time:
    it says nothing of the program that is asked, and on a slow machine takes longer than any answer.
    """
    environment = {"PATH": os.environ.get("PATH", PATH), "HOME": "/root"}
    asked, slower, said = time.monotonic(), 1.0, -1
    with tempfile.TemporaryFile() as output:
        try:
            if plain:
                process = _plain(directory, argv, environment, output.fileno())
            else:
                setting = launch.Setting(place.netns, place.node, str(directory), place.flannel)
                process, said = launch.popen(setting, argv, environment, output.fileno())
        except OSError as error:
            return Look(f"{argv[0]}: {error.strerror}")
        try:
            if said >= 0:
                if not select.select([said], [], [], patience(BEGINNING))[0]:
                    return Look(f"it has not begun within {patience(BEGINNING):.0f} s", MOST)
                slower = (time.monotonic() - asked) / USUAL
                if hindrance := launch.hindrance(os.read(said, 2 * launch.TEXT_LIMIT)):
                    return Look(hindrance.message, slower)
            limit = patience(seconds, slower=slower)
            try:
                code = process.wait(limit)
            except subprocess.TimeoutExpired:
                return Look(f"no answer within {limit:.0f} s", slower)
        finally:
            if said >= 0:
                os.close(said)
            if process.poll() is None:
                process.kill()  # what it has started in a namespace ends with it
                process.wait()
        output.seek(0)
        printed = output.read().decode(errors="replace").splitlines()
    return Look((_telling(printed) or f"it ended with {code}") if code else "", slower)


def refusal(program: Program) -> str:
    """Why a `plain` program would not take its files, before there is a node to have them: its words, and the line that
    they are of. "" where it takes them, or is not there to be asked."""
    if not program.check or shutil.which(program.check[0]) is None:
        return ""
    with tempfile.TemporaryDirectory(prefix="k8snetlab-trial-") as directory:
        conf = Path(directory, CONF)
        conf.mkdir()
        for name, text in program.files.items():
            (conf / name).write_text(text)
        said = failure(Place("", "", 0, directory), Path(directory), program.check, plain=True)
    if (found := _PLACE.search(said)) and found["file"] in program.files:
        lines = program.files[found["file"]].splitlines()
        if 0 < (number := int(found["line"])) <= len(lines):
            return f"{said[found.end() :].strip(': ') or said} ({lines[number - 1].strip()})"
    return said


def _plain(directory: Path, argv: Sequence[str], environment: dict[str, str], output: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*argv],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


def _telling(printed: Iterable[str]) -> str:
    """The line that says what is wrong, without its date: a summary often follows it."""
    lines = [line.strip() for line in printed if line.strip()]
    line = next((line for line in lines if "emerg" in line or "error" in line.lower()), lines[-1] if lines else "")
    return _DATE.sub("", line)
