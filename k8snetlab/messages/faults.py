"""fault: damage on purpose, in the words of the API."""

from __future__ import annotations

import msgspec

from k8snetlab.messages.timeouts import LONG
from k8snetlab.messages.verb import All, Call, Nothing, OfNode


class InjectQuestion(msgspec.Struct, frozen=True):
    """Which fault is to be injected. Without `name` one is chosen by `seed`, of a `level` where that is not 0."""

    name: str = ""
    """As `fault list` has it."""
    node: str = ""
    """Where; "": on a node where it can be."""
    seed: str = ""
    """The same seed means the same fault in the same lab."""
    level: int = 0
    """1 to 3; 0 for any."""


class InjectedFault(msgspec.Struct, frozen=True):
    """A fault that is in the lab."""

    name: str
    """As `fault list` has it."""
    title: str
    """What is wrong, in a few words."""
    level: int
    """1 to 3, the hardest."""
    node: str
    """Where it is."""
    object: str
    """What is damaged, as diagnose calls it."""
    symptom: str
    """What a user would complain of."""
    probe: str
    """A command that shows it."""
    commands: tuple[str, ...]
    """What was done, as a person would have typed it."""
    since: float
    """Seconds since the epoch."""


class InjectedFaults(msgspec.Struct, frozen=True):
    """All that are in the lab."""

    faults: tuple[InjectedFault, ...]
    """In the order in which they came."""
    notes: tuple[str, ...] = ()
    """What is to be known beside that, in sentences."""


class DeclaredFault(msgspec.Struct, frozen=True):
    """A fault that there is."""

    name: str
    """As `fault list` has it."""
    title: str
    """What is wrong, in a few words."""
    level: int
    """1 to 3, the hardest."""
    group: str
    """overlay, routes, devices, addresses, sysctls, firewall, services, objects, names or programs."""
    touches: str
    """What it damages."""
    symptom: str
    """What a user would complain of."""
    finding: str
    """What diagnose says first of it: "KIND FAULT"."""


WITHIN = 5.0
"""Seconds that other machines have to say which faults they have."""
INJECT: Call[InjectQuestion, InjectedFaults] = Call(
    "fault inject", "POST", "faults/inject", InjectQuestion, InjectedFaults, OfNode(), silence=LONG
)
INJECTED: Call[Nothing, InjectedFaults] = Call("fault list", "GET", "faults", Nothing, InjectedFaults, All(WITHIN))
CLEAR: Call[Nothing, InjectedFaults] = Call(
    "fault clear", "POST", "faults/clear", Nothing, InjectedFaults, All(), silence=LONG
)
