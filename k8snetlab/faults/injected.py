"""What is written down of a fault before it is done, so that it can be cleared by whoever comes later."""

from __future__ import annotations

import re

import msgspec

from k8snetlab.dataplane.holds import NONE, Holds
from k8snetlab.faults.fault import Damage

_GONE = re.compile(
    r"No such|Cannot find device|Cannot open network namespace|does a matching rule exist|No chain/target/match"
    r"|does not exist|File exists|Cannot assign requested address|Invalid handle|handle of zero|0 flow entries"
    r"|[Aa]ddress not found"
)
"""How ip, bridge, tc, iptables, nft and conntrack say that what is to be deleted is not there (with LC_ALL=C)."""


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


def gone_already(said: str) -> bool:
    """Whether a command that takes something away was refused because somebody has done it already."""
    return bool(_GONE.search(said))
