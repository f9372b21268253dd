"""Who of a class is where: asked in every seat, with its student's own rights, and kept in the records."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from k8snetlab.classroom import records, roll, seats
from k8snetlab.classroom.records import Record
from k8snetlab.client.client import Client
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import userns
from k8snetlab.messages.drills import DRILL, DrillState
from k8snetlab.messages.places import NAMES
from k8snetlab.messages.verb import Nothing
from k8snetlab.state import labs
from k8snetlab.state.paths import names_lab
from k8snetlab.workshop import progress
from k8snetlab.workshop.progress import Progress
from k8snetlab.workshop.teaching import LessonState, Teaching

PATIENCE = 30.0
"""Seconds that all seats have for their answers: twenty took 8 on a busy machine."""
QUIET = 5.0
"""Seconds after the last answer in which another one comes, where one comes at all: longer than _SILENCE."""
_SILENCE = 3.0
"""Seconds that a lab's daemon has for one."""
_HISTORY = ".bash_history"
_TAIL, _LINE = 4096, 200
_MANY, _TEXT = 256, 4096
"""Members of a list, and characters of a text, that a seat tells at most."""


class StudentState(msgspec.Struct, frozen=True):
    """Where one student is."""

    name: str
    """What `class shell` takes."""
    full: str
    """As a report shows it; ""."""
    state: str
    """ready, no lab (in a seat that is there), silent (the seat or its daemon does not answer), closed (no seat)."""
    labs: tuple[str, ...]
    """The labs that run there."""
    lesson: LessonState | None
    """The lesson that was begun last, and how far it is."""
    drill: DrillState | None
    """The last drill."""
    command: str
    """The last line that was typed in a shell; "" where none was."""
    idle: float | None
    """Seconds since then; null where nothing was typed."""
    memory: float
    """MiB: the PSS of all processes there, which counts what several share in equal parts."""
    processes: int
    """How many there are."""


class ClassState(msgspec.Struct, frozen=True):
    """A class, as it is now."""

    students: tuple[StudentState, ...]
    """In the order of the class."""
    unlimited: tuple[str, ...]
    """What this machine cannot bound: memory, tasks."""


class _Seen(msgspec.Struct, frozen=True):
    """What a seat answers. All of it is what its student wants it to be."""

    labs: tuple[str, ...] = ()
    answering: bool = False
    progress: dict[str, Progress] = {}
    lessons: tuple[LessonState, ...] = ()
    drill: DrillState | None = None
    command: str = ""
    typed: float = 0.0


def look(held: roll.Roll) -> ClassState:
    """Asks all seats at once. What they tell of lessons and drills is in the records then."""
    placed = seats.of(held)
    answers = seats.asked([seat for seat in placed if seat.pid], _look, PATIENCE, QUIET)
    members = userns.all_members()
    states = []
    for student, seat in zip(held.students, placed, strict=True):
        seen = _read(answers.get(student.name, b""))
        if seen:
            _keep(student.name, seen)
        states.append(_state(student, seat, seen, members.get(seat.base, ())))
    unlimited = tuple(word for word in ("memory", "tasks") if word not in seats.limits())
    return ClassState(tuple(states), unlimited)


def _state(student: roll.Student, seat: seats.Seat, seen: _Seen | None, pids: Sequence[int]) -> StudentState:
    if not seat.pid:
        state = "closed"
    elif seen is None or (seen.labs and not seen.answering):
        state = "silent"
    else:
        state = "ready" if seen.labs else "no lab"
    seen = seen or _Seen()
    return StudentState(
        name=student.name,
        full=student.full,
        state=state,
        labs=tuple(map(printable, seen.labs)),
        lesson=seen.lessons[-1] if seen.lessons else None,
        drill=seen.drill,
        command=printable(seen.command)[:_LINE],
        idle=round(max(0.0, time.time() - seen.typed), 1) if seen.typed else None,
        memory=round(sum(map(_pss, pids)) / 1024, 1),
        processes=len(pids),
    )


def printable(text: str) -> str:
    """Without what would do something to a terminal: a student chooses the text."""
    return "".join(char if char.isprintable() else "·" for char in text)


def _pss(pid: int) -> int:
    """KiB; 0 for what has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1])
    return 0


def _read(answer: bytes) -> _Seen | None:
    """None also where a number, a text or a list is beyond all bounds: what is kept is added up and shown."""
    try:
        said = msgspec.json.decode(answer)
        return msgspec.convert(said, _Seen, str_keys=True) if _bounded(said) else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _bounded(said: object) -> bool:
    if isinstance(said, dict):
        return len(said) <= _MANY and all(map(_bounded, said)) and all(map(_bounded, said.values()))
    if isinstance(said, list):
        return len(said) <= _MANY and all(map(_bounded, said))
    if isinstance(said, str):
        return len(said) <= _TEXT
    return not isinstance(said, int | float) or abs(said) < 1 << 63


def _keep(name: str, seen: _Seen) -> None:
    """What a seat does not tell any more, such as after `class stop`, stays as it was."""
    before = records.read(name)
    kept = {lab: one for lab, one in seen.progress.items() if names_lab(lab)}
    lessons = before.lessons | {one.lesson: one for one in seen.lessons}
    drills = before.drills
    if seen.drill and not seen.drill.running and seen.drill not in drills:
        drills = (*drills, seen.drill)
    now = Record(before.progress | kept, lessons, drills)
    if now != before:
        records.write(name, now)


# --- in the seat ------------------------------------------------------------------------------------------------------


def _look() -> bytes:
    """Whatever of it cannot be read is left out."""
    found = labs.running()
    answering = [lab for lab in found if _answers(lab)]
    drills = [_drill(lab) for lab in answering]
    kept, lessons = _lessons()
    command, typed = _typed(Path.home() / _HISTORY)
    seen = _Seen(
        labs=tuple(found),
        answering=len(answering) == len(found),
        progress=kept,
        lessons=tuple(lessons),
        drill=next((one for one in drills if one), None),
        command=command,
        typed=typed,
    )
    return msgspec.json.encode(seen)


def _answers(lab: str) -> bool:
    try:
        Client(lab).call(NAMES, Nothing(), _SILENCE)
    except K8sNetLabError:
        return False
    return True


def _drill(lab: str) -> DrillState | None:
    try:
        return Client(lab).call(DRILL, Nothing(), _SILENCE)
    except K8sNetLabError:
        return None


def _lessons() -> tuple[dict[str, Progress], list[LessonState]]:
    """How far, by lab, and in words; the one that was changed last is the last."""
    kept: dict[str, Progress] = {}
    states = []
    with contextlib.suppress(OSError):
        files = sorted(progress.directory().glob("*.json"), key=lambda file: file.stat().st_mtime)
        for file in files:
            with contextlib.suppress(K8sNetLabError):
                teaching = Teaching(file.stem)
                kept[file.stem] = teaching.progress
                states.append(teaching.state())
    return kept, states


def _typed(file: Path) -> tuple[str, float]:
    """The last line, and when it was written."""
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return "", 0.0
    with os.fdopen(fd, "rb") as opened:
        stat = os.fstat(fd)
        opened.seek(max(0, stat.st_size - _TAIL))
        lines = opened.read(_TAIL).decode(errors="replace").strip().splitlines()
        return (lines[-1], stat.st_mtime) if lines else ("", 0.0)
