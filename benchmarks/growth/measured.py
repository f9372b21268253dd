"""What the growth run finds, and what it says: points of curves, and where a curve bends."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

What = Literal["pods", "nodes", "Services"]
BEND = 1.25
"""The power of its size from which time is said to grow faster than what is built."""


class Point(msgspec.Struct, frozen=True):
    """So many of them, built and taken down."""

    size: int
    up: float
    """Seconds."""
    down: float
    memory: float
    """Megabytes of the whole machine, the kernel's among them."""
    daemon: float = 0.0
    """Megabytes of our daemon."""
    programs: float = 0.0
    """Seconds of all cores that programs (the daemon first of all) worked during `up`."""
    kernel: float = 0.0
    """Those that the kernel worked."""


class Series(msgspec.Struct, frozen=True):
    """A curve: whose, and why it ends where it ends."""

    what: What
    who: str
    points: tuple[Point, ...] = ()
    ended: str = ""


class StoreCost(msgspec.Struct, frozen=True):
    """What a lab of machines asks of its store, measured with a few of them."""

    machines: int
    idle_writes: float
    """Writes a second of one machine while nothing happens."""
    renewals: float
    """Renewals of leases a second, of one machine."""
    pod_writes: float
    """Writes of objects for one more pod of a Deployment, from the Deployment to the endpoint; each is sent to all."""
    pod_bytes: float
    """Bytes of keys and values of all of these together."""
    talk_writes: float
    """Writes with which the verb's daemon asks one other machine whether it is at rest; sent to one of the two."""
    join_writes: float
    """Writes of objects for one more machine; each is sent to all."""
    join_bytes: float


class Growth(msgspec.Struct, frozen=True):
    """One run."""

    machine: str
    date: str
    series: tuple[Series, ...]
    store: StoreCost | None = None
    store_trouble: str = ""
    """Why the store was not measured."""


def bend(points: Sequence[Point]) -> tuple[Point, float] | None:
    """The point from which on time grows faster than size, and as which power of it; None where it does not.

    One step alone is none: a busy moment looks the same.
    """
    for number, point in enumerate(points[:-2]):
        powers = [power for _, power in _powers(points[number:])]
        if min(powers) >= BEND:
            return point, power_of(point, points[-1])
    return None


def faster(begin: Point, end: Point) -> Literal["programs", "kernel", "waiting"]:
    """Which part of the time grew most between two points: programs' work, the kernel's, or neither."""
    growth = {
        "programs": end.programs - begin.programs * end.size / begin.size,
        "kernel": end.kernel - begin.kernel * end.size / begin.size,
    }
    if max(growth.values()) <= 0:
        return "waiting"
    return "programs" if growth["programs"] >= growth["kernel"] else "kernel"


def _powers(points: Sequence[Point]) -> Iterator[tuple[Point, float]]:
    for one, other in itertools.pairwise(points):
        yield other, power_of(one, other)


def power_of(one: Point, other: Point) -> float:
    """As which power of size time grows from one point to another."""
    return math.log(other.up / one.up) / math.log(other.size / one.size)
