"""How far a learner is: a small file of the user's for each lab, which outlives the lab and a restart."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from k8snetlab.errors import InputError, NotFoundError
from k8snetlab.state.paths import LabPaths, write_private


class Progress(msgspec.Struct):
    """Of the lesson that was begun last in one lab. Steps count from 1."""

    lesson: str
    """What `lesson start` took: a name that ships, or an absolute path."""
    language: str
    step: int = 1
    answered: list[int] = []
    """The step's questions that are answered, from 0."""
    passed: list[int] = []
    """Steps whose check has passed."""
    solved: list[int] = []
    """Steps that `solve` did, or of which it told the answers."""
    hints: dict[int, int] = {}
    """By step: how many hints were looked at."""
    built: int = 0
    """Which lab of that name is the lesson's: the nanosecond at which it was made."""
    began: float = 0.0
    """Seconds since 1970."""
    ended: float = 0.0
    """When the last step was left; 0 before."""


def directory() -> Path:
    """$XDG_STATE_HOME/k8snetlab/lessons, or below ~/.local/state."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "k8snetlab" / "lessons"


def file_of(lab: str) -> Path:
    """Raises InputError where that can name no lab."""
    return directory() / f"{LabPaths(lab).lab}.json"


def known(lab: str) -> bool:
    return file_of(lab).exists()


def read(lab: str) -> Progress:
    """Raises NotFoundError where no lesson was begun, InputError where the file is none of ours."""
    file = file_of(lab)
    try:
        return msgspec.json.decode(file.read_bytes(), type=Progress)
    except FileNotFoundError:
        begin = "`k8snetlab lesson list`, then start one"
        hint = f"{begin}; of root's lessons root knows: sudo k8snetlab lesson …" if os.geteuid() else begin
        raise NotFoundError(f"no lesson has been begun in lab {lab}", hint) from None
    except msgspec.MsgspecError as error:
        raise InputError(f"{file}: {error}", "`k8snetlab lesson start` begins anew") from None


def write(lab: str, progress: Progress) -> None:
    """Raises InputError where the user's directory cannot be written."""
    file = file_of(lab)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(file, msgspec.json.encode(progress))
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}", "XDG_STATE_HOME names another directory") from None
