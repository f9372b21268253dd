"""What every long verb says while it works: how far it is, what it waits for, what is to be known."""

from __future__ import annotations

import msgspec


class Progress(msgspec.Struct, frozen=True, tag_field="type", tag="progress"):
    """How far a phase of the work is."""

    phase: str
    """In a word or two."""
    done: int
    """How much of it is done."""
    total: int
    """How much there is; 0 where there is nothing, or nobody knows."""
    message: str = ""
    """What else is to be said of it, or ""."""


class Waiting(msgspec.Struct, frozen=True, tag_field="type", tag="waiting", rename={"reasons": "for"}):
    """The work waits; said at least once a second."""

    seconds: float
    """Since when."""
    reasons: tuple[str, ...]
    """What for, in words; the first few."""


class Warning(msgspec.Struct, frozen=True, tag_field="type", tag="warning"):
    """Something that is to be known, and that the work goes on in spite of."""

    message: str
    """A sentence."""
