"""What a network of BIRDs took to settle, and what it took of the machine."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

from benchmarks import machine
from benchmarks.arrivals import Arrivals


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds to the last route, those of a core by all BIRDs and by the daemon and the kubelet with their children,
    megabytes of one BIRD, and routes that came and went before all were there."""

    seconds: float
    birds: float
    ours: float = 0.0
    memory: float
    lost: int = 0
    up: float = 0.0
    """Of the whole `up`."""


def settled(began: float, at: float, arrivals: Arrivals, birds: Sequence[int], **more: float) -> Settled:
    return Settled(
        seconds=max(at - began, 0.0),
        birds=machine.cpu(*birds),
        memory=statistics.median(map(machine.share, birds)),
        lost=arrivals.lost,
        **more,
    )
