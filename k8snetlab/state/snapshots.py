"""Snapshots of labs, files that outlive them: /var/lib/k8snetlab/snapshots/LAB/NAME.json, root's alone (they hold
Secrets).

The first line says what it is, and the sum of all others; then comes a line for each object.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from k8snetlab import __version__
from k8snetlab.api.words import shorten
from k8snetlab.controllers.returning import Kept
from k8snetlab.errors import AlreadyExistsError, InputError, NotFoundError
from k8snetlab.messages.snapshots import SnapshotInfo
from k8snetlab.state.paths import names_lab, write_private
from k8snetlab.wording import nearest

DEFAULT = Path("/var/lib/k8snetlab")
SUFFIX = ".json"
FORM = 1
"""Of the file, told in its first line. Another one is refused."""


class _Head(msgspec.Struct, frozen=True):
    k8snetlab: str
    """"snapshot", always."""
    form: int
    by: str = ""
    lab: str = ""
    name: str = ""
    at: float = 0.0
    objects: int = 0
    nodes: int = 0
    pods: int = 0
    sum: str = ""
    """SHA-256 of all that follows the line."""


def directory() -> Path:
    """K8SNETLAB_STATE names another place than /var/lib/k8snetlab."""
    return Path(os.environ.get("K8SNETLAB_STATE", DEFAULT)) / "snapshots"


def file_of(lab: str, name: str) -> Path:
    """Raises InputError where that can name no snapshot."""
    if not names_lab(name):
        raise InputError(f"{shorten(name)!r} cannot name a snapshot", "lower-case letters, digits and -, at most 63")
    if not names_lab(lab):
        raise InputError(f"{shorten(lab)!r} cannot name a lab", "lower-case letters, digits and -, at most 63")
    return directory() / lab / f"{name}{SUFFIX}"


def refuse_known(lab: str, name: str) -> None:
    """Raises AlreadyExistsError where there is one of that name."""
    if file_of(lab, name).exists():
        raise AlreadyExistsError(f"lab {lab} has a snapshot {name} already", "--force puts this one in its place")


def write(lab: str, name: str, entries: Sequence[Kept]) -> SnapshotInfo:
    """Puts the file in place as a whole, or leaves the one that is there. Raises InputError where it cannot be written:
    the disk is full, say."""
    file = file_of(lab, name)
    lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
    head = _Head(
        k8snetlab="snapshot",
        form=FORM,
        by=__version__,
        lab=lab,
        name=name,
        at=round(time.time(), 3),
        objects=len(entries),
        nodes=_count(entries, "/registry/minions/"),
        pods=_count(entries, "/registry/pods/"),
        sum=_sum(lines),
    )
    try:
        for place in (file.parent.parent, file.parent):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(file, msgspec.json.encode(head) + b"\n" + lines)
    except OSError as error:
        with contextlib.suppress(OSError):
            file.with_name(f".{file.name}.new").unlink(missing_ok=True)
        raise InputError(
            f"{file} cannot be written: {error.strerror}", "nothing was kept; K8SNETLAB_STATE names another directory"
        ) from None
    return _info(file, head)


def read(lab: str, name: str) -> tuple[Kept, ...]:
    """Raises NotFoundError, or InputError where the file is damaged, of another form, or of another lab."""
    file = file_of(lab, name)
    head, lines = _parts(file)
    if head.lab != lab:
        raise InputError(f"{file} is a snapshot of lab {shorten(head.lab)}, not of {lab}", f"--lab {shorten(head.lab)}")
    if _sum(lines) != head.sum:
        raise InputError(f"{file} is damaged: its sum is another", "it cannot be restored; delete it")
    try:
        return tuple(msgspec.json.decode(line, type=Kept) for line in lines.splitlines())
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{file} is damaged: {error}", "it cannot be restored; delete it") from None


def listing(lab: str | None = None) -> tuple[SnapshotInfo, ...]:
    """Those of one lab, or (None) of all, by lab and name."""
    return tuple(_looked(file) for file in _files(lab))


def labs_with(name: str) -> list[str]:
    """The labs that have a snapshot of that name."""
    return [file.parent.name for file in _files(None) if file.stem == name]


def delete(lab: str, name: str) -> None:
    """Raises NotFoundError."""
    file = file_of(lab, name)
    try:
        file.unlink()
    except FileNotFoundError:
        raise _unknown(file) from None
    for place in (file.parent, file.parent.parent):
        with contextlib.suppress(OSError):  # others are in it
            place.rmdir()


def _files(lab: str | None) -> list[Path]:
    """A directory that root alone can read has none for others, who are told so by the verb."""
    found = directory().glob(f"{lab or '*'}/*{SUFFIX}")
    return sorted(file for file in found if names_lab(file.parent.name) and names_lab(file.stem))


def _looked(file: Path) -> SnapshotInfo:
    try:
        head, lines = _parts(file)
        problem = "" if _sum(lines) == head.sum else "it is damaged: its sum is another"
        if not problem and head.lab != file.parent.name:
            problem = f"it is of lab {shorten(head.lab)}"
    except (InputError, NotFoundError) as error:
        head, problem = _Head("", 0), error.message.removeprefix(f"{file} ")
    return _info(file, head, problem)


def _info(file: Path, head: _Head, problem: str = "") -> SnapshotInfo:
    """Its lab and name are those of the file, whatever stands in it."""
    return SnapshotInfo(
        lab=file.parent.name,
        name=file.stem,
        file=str(file),
        at=head.at,
        by=shorten(head.by),
        objects=head.objects,
        nodes=head.nodes,
        pods=head.pods,
        problem=problem,
    )


def _parts(file: Path) -> tuple[_Head, bytes]:
    try:
        first, _, lines = file.read_bytes().partition(b"\n")
        head = msgspec.json.decode(first, type=_Head)
    except FileNotFoundError:
        raise _unknown(file) from None
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}", "sudo; or K8SNETLAB_STATE") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InputError(f"{file} is damaged, or no snapshot", "it cannot be restored; delete it") from None
    if head.k8snetlab != "snapshot" or head.form != FORM:
        by = f"k8snetlab {shorten(head.by)}" if head.by else "another k8snetlab"
        raise InputError(
            f"{file} was written by {by} in form {head.form}, this one ({__version__}) reads form {FORM}",
            "restore it with the version that made it",
        )
    return head, lines


def _unknown(file: Path) -> NotFoundError:
    lab, name = file.parent.name, file.stem
    known = [one.stem for one in _files(lab)]
    return NotFoundError(f"lab {lab} has no snapshot {name}", nearest(name, known, "`k8snetlab snapshot list`"))


def _sum(data: bytes) -> str:
    import hashlib  # loads OpenSSL

    return hashlib.sha256(data).hexdigest()


def _count(entries: Iterable[Kept], prefix: str) -> int:
    return sum(entry.key.startswith(prefix) for entry in entries)
