"""snapshot: what a lab's objects are, kept in a file, and brought back."""

from __future__ import annotations

import msgspec

from k8snetlab.controllers.returning import Kept
from k8snetlab.messages.changes import ChangeEvent, Done, Outcome, Terms
from k8snetlab.messages.verb import Nothing, Stream


class KeptObject(Kept, frozen=True, tag_field="type", tag="object"):
    """An object of the lab; an event of the stream."""


class AllKept(msgspec.Struct, frozen=True, tag_field="type", tag="done"):
    """The last event."""

    objects: int
    """How many there were."""


class Restore(Terms, frozen=True, kw_only=True):
    """What the lab is to hold, and nothing else."""

    objects: list[Kept]
    """As they were kept, in the order of creation."""


class SnapshotInfo(msgspec.Struct, frozen=True):
    """A snapshot that is kept on this machine."""

    lab: str
    """Of which lab it is."""
    name: str
    """What it is called."""
    file: str
    """Where it is."""
    at: float
    """When it was made, in seconds since 1970; 0 where nobody can tell."""
    by: str
    """The version of k8snetlab that made it; "" where nobody can tell."""
    objects: int
    """How many objects it holds."""
    nodes: int
    """How many of them are Nodes."""
    pods: int
    """How many of them are Pods."""
    problem: str = ""
    """Why it cannot be read; ""."""


class SnapshotList(msgspec.Struct, frozen=True):
    """The snapshots of one lab, or of all labs."""

    snapshots: tuple[SnapshotInfo, ...]
    """By lab and name."""


class Restored(Outcome, frozen=True, kw_only=True):
    """What was done to bring a lab back to a snapshot."""

    lab: str
    """The lab."""
    snapshot: str
    """Its snapshot's name."""


class SnapshotDeleted(msgspec.Struct, frozen=True):
    """A snapshot that is kept no more."""

    lab: str
    """Of which lab it was."""
    snapshot: str
    """What it was called."""


KEPT: Stream[Nothing, KeptObject | AllKept] = Stream(
    "snapshot save", "GET", "snapshot", Nothing, KeptObject | AllKept, last=AllKept
)
RESTORE: Stream[Restore, ChangeEvent] = Stream(
    "snapshot restore", "POST", "snapshot/restore", Restore, ChangeEvent, last=Done
)
