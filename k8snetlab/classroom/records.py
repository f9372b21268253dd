"""What was seen last of each student: it outlives the seat, and a restart of the machine.

Lessons go on from it; a report is made of it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from k8snetlab.classroom import roll
from k8snetlab.messages.drills import DrillState
from k8snetlab.state.paths import write_private
from k8snetlab.workshop.progress import Progress
from k8snetlab.workshop.teaching import LessonState

_LARGEST = 1 << 20
"""Octets of one: all lessons, and some hundred drills."""


class Record(msgspec.Struct, frozen=True):
    """Of one student."""

    progress: dict[str, Progress] = {}
    """How far, by lab: what `lesson` keeps."""
    lessons: dict[str, LessonState] = {}
    """By lesson, as it was seen last."""
    drills: tuple[DrillState, ...] = ()
    """Those that are over, in their order."""


def read(name: str) -> Record:
    """An empty one where nothing was seen yet, or nothing that can be read."""
    try:
        return msgspec.json.decode(_file(name).read_bytes(), type=Record)
    except (FileNotFoundError, msgspec.MsgspecError):
        return Record()


def write(name: str, record: Record) -> None:
    """One that has become larger than any class makes it is not written: a student chooses what is told."""
    data = msgspec.json.encode(record)
    if len(data) > _LARGEST:
        return
    _file(name).parent.mkdir(mode=0o700, exist_ok=True)
    write_private(_file(name), data)


def _file(name: str) -> Path:
    return roll.directory() / roll.RECORDS / f"{name}.json"
