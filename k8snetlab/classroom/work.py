"""One student's seat and lab, made by a process of its own: `python -m k8snetlab.classroom.work NAME`.

It says on standard output what was said, and ends with the exit code of the last command.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from k8snetlab.classroom import records, roll, seats
from k8snetlab.errors import InputError, K8sNetLabError
from k8snetlab.kernel import syscalls
from k8snetlab.state import labs, scenarios
from k8snetlab.workshop import progress, teaching

_MOST, _LARGEST = 64, 4 << 20
"""Files of a scenario's folder, and their octets."""
SAID = 4000
"""Characters of what a command said that are told."""
KEPT = "its lab is there already"


def main(name: str) -> int:
    held = roll.read()
    seat = seats.begin(seats.of(held)[held.place(name)], held)
    files = brought(held.scenario)
    kept = records.read(name).progress
    environment = seats.environment(os.environ)
    seats.only(sys.stdout.fileno())
    seats.enter(seat)
    os.environ.clear()
    os.environ.update(environment)
    if labs.running():
        sys.stdout.write(KEPT)
        return 0
    for file, data in files.items():
        Path("/root", file).parent.mkdir(parents=True, exist_ok=True)
        Path("/root", file).write_bytes(data)
    for lab, one in kept.items():
        if not progress.known(lab):
            progress.write(lab, one)
    return _run(_words(held, name))


def brought(scenario: str) -> dict[str, bytes]:
    """The files that a scenario of the instructor's own has, by their path below a student's home; none of one that
    ships. Raises InputError."""
    if not scenario or scenario in (*scenarios.names(), *scenarios.lessons()):
        return {}
    place = Path(scenario)
    files = sorted(one for one in place.iterdir() if one.is_file()) if place.is_dir() else [place]
    if len(files) > _MOST or sum(file.stat().st_size for file in files) > _LARGEST:
        raise InputError(f"{scenario}: more than {_MOST} files, or {_LARGEST >> 20} MiB", "is this a scenario?")
    above = place.absolute().name if place.is_dir() else "."
    return {f"{above}/{file.name}": file.read_bytes() for file in files}


def _words(held: roll.Roll, name: str) -> list[str]:
    if held.lesson:
        if progress.known(teaching.LAB):
            return ["lesson", "reset"]
        return ["lesson", "start", held.lesson, "--lang", held.language]
    shipped = held.scenario in (*scenarios.names(), *scenarios.lessons())
    what = held.scenario if shipped else f"./{Path(held.scenario).absolute().name}"
    return ["up", what, *(() if held.lab else ("--lab", name))]


def _run(words: list[str]) -> int:
    """Ends with us: who interrupts `class start` interrupts it, too."""
    ran = subprocess.Popen(
        ["k8snetlab", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/root",
        umask=0o022,
        start_new_session=True,
        preexec_fn=lambda: syscalls.end_with_parent(signal.SIGINT),
    )
    said = ran.communicate()[0].decode(errors="replace")
    if ran.returncode:
        sys.stdout.write(said.strip()[-SAID:])
    return ran.returncode


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except K8sNetLabError as error:
        sys.stdout.write(f"error: {error.message}\n")
        sys.exit(error.exit_code)
    except OSError as error:
        sys.stdout.write(f"error: {error}\n")
        sys.exit(1)
