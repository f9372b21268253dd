"""What is written down of a fault before it is done, so that it can be cleared by whoever comes later."""

from __future__ import annotations

import msgspec

from k8snetlab.dataplane.holds import NONE, Holds
from k8snetlab.faults.fault import Damage


class Injected(msgspec.Struct, frozen=True):
    """One fault in one lab. `at` is in epoch seconds. `hidden`: a drill's, of which nothing tells the name."""

    name: str
    node: str
    at: float
    damage: Damage
    hidden: bool = False


def held(faults: tuple[Injected, ...]) -> Holds:
    """All that agents leave alone."""
    return frozenset(hold for one in faults for hold in one.damage.holds) or NONE
